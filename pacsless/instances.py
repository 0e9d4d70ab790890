"""Which instances a request is about, and their files in a form the web may have."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from pacsless.dicom import explicit_le
from pacsless.dicom.frame_index import wants_index
from pacsless.dicom.frames import FrameTable, declared_frames, locate_frames
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, lookup, name
from pacsless.errors import BadRequest, InvalidIdentity, NotAcceptable, NotFound, Unprocessable
from pacsless.frame_index import FrameIndex
from pacsless.identity import InstanceIdentity, valid_uid
from pacsless.tombstones import is_of_deleted

if TYPE_CHECKING:
    from pacsless.archive import Archive, Stat
    from pacsless.cache import Cache

_SPOOLED: Final = 8 << 20
"""Bytes of a conversion kept in memory; more go to a temporary file."""

_FRAME_LIST: Final = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,9})*", re.ASCII)
_AT_ONCE: Final = explicit_le.Limits(inflated_bytes=256 << 20)
"""What a client may cost by one request; transcode has time for larger ones."""


@dataclass(frozen=True, slots=True, order=True)
class Stored:
    """An original and where it is."""

    identity: InstanceIdentity
    size: int
    modified: float

    @property
    def version(self) -> str:
        """Names these bytes: facts about them may be cached under it."""
        return f"{self.identity.key}:{self.size}:{self.modified}"


def refuse_video(syntax: str) -> None:
    """See that frames of a transfer syntax can be told apart.

    Raises
    ------
    NotAcceptable
        If it is a video's.
    """
    if lookup(syntax).is_video:
        raise NotAcceptable(
            "video", f"the instance is a video ({name(syntax)}): retrieve its bulk data instead"
        )


def find_instance(archive: Archive, tenant: str, study: str, series: str, sop: str) -> Stored:
    """Locate one instance by its path.

    Raises
    ------
    NotFound
        If this tenant has none of that name.
    """
    identity = InstanceIdentity(tenant, study, series, sop)
    stat = archive.stat(identity.key)
    if stat is None:
        raise NotFound("no-such-instance", "there is no such instance")
    return Stored(identity, stat.size, stat.modified)


def find_instances(
    archive: Archive, tenant: str, study: str, series: str | None = None
) -> list[Stored]:
    """Locate the instances of a study or series, in the order of their UIDs.

    Raises
    ------
    NotFound
        If there are none.
    """
    folder = f"{tenant}/{study}/" if series is None else f"{tenant}/{study}/{series}/"
    found = sorted(one for stat in archive.list(folder) if (one := _original(stat)))
    if not found:
        what = "study" if series is None else "series"
        raise NotFound(f"no-such-{what}", f"there is no such {what}")
    return found


def _original(stat: Stat) -> Stored | None:
    try:
        return Stored(InstanceIdentity.of_key(stat.key), stat.size, stat.modified)
    except InvalidIdentity:
        return None


def stored_syntax(archive: Archive, cache: Cache, stored: Stored) -> str:
    """Return the transfer syntax of an original, or ``""`` if its file tells none.

    It goes into headers, so only a UID is one.
    """
    tenant = stored.identity.tenant_id
    syntax = cache.get(tenant, "syntax", stored.version)
    if not isinstance(syntax, str):
        try:
            with archive.open(stored.identity.key) as file:
                syntax = valid_uid(split_part10(file).transfer_syntax, "TransferSyntaxUID")
        except Unprocessable:
            syntax = ""
        cache.put(tenant, "syntax", stored.version, syntax)
    return syntax


def is_servable(transfer_syntax: str) -> bool:
    """Whether pixels and values can be sent from the file as they lie in it."""
    syntax = lookup(transfer_syntax)
    return syntax.little_endian and not syntax.deflated


def open_servable(archive: Archive, stored: Stored, transfer_syntax: str) -> BinaryIO:
    """Open the original, or its Explicit VR Little Endian form if it is not servable."""
    if is_servable(transfer_syntax):
        return archive.open(stored.identity.key)
    return open_explicit(archive, stored)


def open_explicit(archive: Archive, stored: Stored) -> BinaryIO:
    """Open an uncompressed instance in Explicit VR Little Endian.

    That is the rendition; as long as transcode has not made it, the original is
    converted here and now, because a reader does not wait for a queue.

    Raises
    ------
    Unprocessable
        If it cannot be converted.
    """
    made = archive.stat(stored.identity.rendition_key(EXPLICIT_VR_LITTLE_ENDIAN))
    if made is not None and not is_of_deleted(archive, stored.identity, made):
        with suppress(NotFound):
            return archive.open(made.key, made)
    spool = tempfile.SpooledTemporaryFile(max_size=_SPOOLED)  # noqa: SIM115 - returned
    try:
        with archive.open(stored.identity.key) as original:
            explicit_le.convert(original, spool.write, limits=_AT_ONCE)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return cast("BinaryIO", spool)


def parse_frame_list(text: str) -> list[int]:
    """Read a frame list (PS3.18 Table 10.4.1-1).

    Raises
    ------
    BadRequest
        If it is not numbers from 1, with commas between them.
    """
    numbers = [int(part) for part in text.split(",")] if _FRAME_LIST.fullmatch(text) else [0]
    if 0 in numbers:
        raise BadRequest("frame-list", "a frame list is numbers from 1, with commas between them")
    return numbers


def frame_table(
    archive: Archive, file: BinaryIO, stored: Stored, syntax: str, cache: Cache
) -> FrameTable:
    """Find the frames of an instance: in the cache, in its index, else in its file.

    Raises
    ------
    NotFound
        If the instance has no pixels.
    Unprocessable
        If its file is broken.
    """
    if not syntax:
        raise Unprocessable("no-transfer-syntax", "the file does not tell its transfer syntax")
    if not is_servable(syntax):
        return _walk(file)  # through a converted file, which is another one than the original
    index = FrameIndex(archive, cache, stored, lambda: _walk(file))
    table = index.remembered()
    if table is None and wants_index(syntax) and declared_frames(file) > 1:
        table = index.find()
    if table is None:
        table = _walk(file)
        index.remember(table)
    return table


def _walk(file: BinaryIO) -> FrameTable:
    try:
        return locate_frames(file)
    except Unprocessable as error:
        if error.code in ("no-pixel-data", "truncated"):
            # Not one whole frame is there.
            raise NotFound(error.code, f"the instance has no frame: {error.message}") from None
        raise

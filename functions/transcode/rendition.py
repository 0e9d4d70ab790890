"""One conversion: original in, rendition beside it, and the event that says so.

Repeating a request changes nothing: a rendition is written once, and its event
has the same id every time. A repeat states when the rendition was written, which
is before the first event's time, so that one stays in the warehouse.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from functions.transcode.verification import verify
from pacsless.archive import AlreadyKept, Sealed, size_and_sha256
from pacsless.codec import now
from pacsless.dicom import explicit_le
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from pacsless.errors import Busy, NotFound, PacslessError, Unprocessable
from pacsless.events import (
    InstanceConversionFailed,
    InstanceConversionRequested,
    InstanceConverted,
)
from pacsless.times import iso_time
from pacsless.tombstones import is_deleted, is_of_deleted

if TYPE_CHECKING:
    from pacsless.archive import Archive


class _Failed(Exception):
    """A conversion that no retry can mend, and the stage it ended in."""

    def __init__(self, stage: str, error: PacslessError) -> None:
        super().__init__(stage)
        self.stage = stage
        self.error = error


def make_rendition(
    request: InstanceConversionRequested, archive: Archive
) -> InstanceConverted | InstanceConversionFailed | None:
    """Carry out a request.

    Returns
    -------
    InstanceConverted, InstanceConversionFailed or None
        What became of it; None if the instance was deleted.

    Raises
    ------
    Unavailable
        If the archive does not answer: the request is to be tried again.
    Busy
        If the instance was deleted meanwhile, and stored again.
    """
    began = time.monotonic()
    try:
        made = _rendition(request, archive)
    except _Failed as failure:
        return InstanceConversionFailed(
            **_about(request),
            stage=failure.stage,
            error_code=failure.error.code,
            error_text=failure.error.message,
            failed_at=now(),
        )
    if made is None:
        return None
    size, sha256, converted_at = made
    return InstanceConverted(
        **_about(request),
        rendition_path=request.identity.rendition_key(request.target_transfer_syntax),
        rendition_size=size,
        rendition_sha256=sha256,
        converted_at=converted_at,
        duration_ms=round((time.monotonic() - began) * 1000, 3),
    )


def _about(request: InstanceConversionRequested) -> dict[str, str]:
    return {
        "tenant_id": request.tenant_id,
        "study_instance_uid": request.study_instance_uid,
        "series_instance_uid": request.series_instance_uid,
        "sop_instance_uid": request.sop_instance_uid,
        "sha256": request.sha256,
        "transfer_syntax": request.transfer_syntax,
        "target_transfer_syntax": request.target_transfer_syntax,
    }


def _rendition(
    request: InstanceConversionRequested, archive: Archive
) -> tuple[int, str, str] | None:
    """Make the rendition unless it is there; return its size, its digest and its time."""
    if request.target_transfer_syntax != EXPLICIT_VR_LITTLE_ENDIAN:
        raise _Failed(
            "encode",
            Unprocessable("unknown-target", "only Explicit VR Little Endian can be written"),
        )
    key = request.identity.rendition_key(request.target_transfer_syntax)
    before = archive.stat(request.identity.key)
    if before is None and is_deleted(archive, request.identity):
        return None
    made = archive.stat(key)
    if made is not None and is_of_deleted(archive, request.identity, made):
        archive.remove(key)
        made = None
    if made is not None:
        with archive.open(key) as file:
            return *size_and_sha256(file), iso_time(datetime.fromtimestamp(made.modified, UTC))
    try:
        original = archive.open(request.identity.key)
    except NotFound as error:
        raise _Failed("parse", error) from None
    with original:
        sealed = _converted(original, archive)
    try:
        archive.keep(sealed, key)
    except AlreadyKept:
        # Another worker was quicker; the same bytes make the same rendition.
        archive.discard(sealed)
    after = archive.stat(request.identity.key)
    if before is None or after is None or after.modified != before.modified:
        # It would be taken for one of what is stored under this name next.
        archive.remove(key)
        raise Busy("replaced", "the instance was deleted while it was converted")
    return sealed.size, sealed.sha256, now()


def _converted(original: BinaryIO, archive: Archive) -> Sealed:
    with archive.incoming() as incoming:
        try:
            syntax = split_part10(original).transfer_syntax
        except Unprocessable as error:
            raise _Failed("parse", error) from None
        if not explicit_le.is_convertible(syntax):
            raise _Failed(
                "decode", Unprocessable("compressed", "compressed pixel data cannot be decoded yet")
            )
        try:
            explicit_le.convert(original, incoming.write)
        except Unprocessable as error:
            raise _Failed("convert", error) from None
        sealed = incoming.seal()
    try:
        with open(archive.path_of(sealed), "rb") as rendition:
            verify(original, rendition)
    except Unprocessable as error:
        archive.discard(sealed)
        raise _Failed("verify", error) from None
    return sealed

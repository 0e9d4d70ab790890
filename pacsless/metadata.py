"""The metadata of a series as it is now: what its document says, plus new files.

Originals never change, so an entry once made stays right and only files that
have none are read. build_metadata stores the result; wado_rs answers with it
when the stored document lags behind the files.
"""

from __future__ import annotations

import gzip
import logging
import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from pacsless import dicomweb
from pacsless.dicom import document
from pacsless.errors import InvalidIdentity, NotFound, Unprocessable
from pacsless.identity import InstanceIdentity, SeriesIdentity, valid_uid

if TYPE_CHECKING:
    from pacsless.archive import Archive
    from pacsless.settings import Settings

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SeriesMetadata:
    """A series' document and what it was made from."""

    content: bytes
    instances: int
    """Entries."""
    left_out: int
    """Originals that cannot be read as DICOM."""
    originals: frozenset[str]
    """SOP Instance UIDs of the files there were."""


class EntryMemory:
    """Entries of the documents this process read last.

    A series that grows is described again and again, and parsing the entries
    it already has would cost more each time; a line seen before is known.

    Parameters
    ----------
    limit
        Bytes of documents to remember.
    """

    def __init__(self, limit: int = 64 << 20) -> None:
        self._limit = limit
        self._held = 0
        self._documents: OrderedDict[str, dict[bytes, document.Entry]] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, _settings: Settings) -> Self:
        """Start with no memory."""
        return cls()

    def entries(self, key: str, content: bytes) -> dict[str, document.Entry]:
        """Return the entries of the document at `key` by SOP Instance UID; damaged ones are not."""
        with self._lock:
            seen = self._documents.get(key, {})
        found = {}
        for line in document.lines(content):
            entry = seen.get(line)
            if entry is None:
                try:
                    entry = document.Entry.of_line(line)
                except ValueError:
                    continue  # damaged: the file is read again
            found[entry.sop_instance_uid] = entry
        self._remember(key, {entry.line: entry for entry in found.values()})
        return found

    def _remember(self, key: str, entries: dict[bytes, document.Entry]) -> None:
        with self._lock:
            self._held -= sum(map(len, self._documents.pop(key, ())))
            self._documents[key] = entries
            self._held += sum(map(len, entries))
            while self._held > self._limit:
                self._held -= sum(map(len, self._documents.popitem(last=False)[1]))


def originals(archive: Archive, series: SeriesIdentity) -> frozenset[str]:
    """Return the SOP Instance UIDs of the files of a series."""
    found = set()
    for stat in archive.list(f"{series.folder}/"):
        name = stat.key.removeprefix(f"{series.folder}/")
        if not name.endswith(".dcm"):
            continue
        try:
            found.add(valid_uid(name.removesuffix(".dcm"), "SOPInstanceUID"))
        except InvalidIdentity:
            continue  # not an original: nobody is answered for it
    return frozenset(found)


def read_document(archive: Archive, key: str) -> bytes | None:
    """Return a stored document, or None if there is none."""
    try:
        with archive.open(key) as file:
            return file.read()
    except NotFound:
        return None


def read_whole_document(archive: Archive, key: str) -> bytes | None:
    """Return a stored document if its compressed form says the same.

    Two builders may have left a mixed pair, and a crash half of one.
    """
    content = read_document(archive, key)
    compressed = None if content is None else read_document(archive, f"{key}.gz")
    try:
        whole = compressed is not None and gzip.decompress(compressed) == content
    except (OSError, EOFError, zlib.error):
        return None
    return content if whole else None


def describe_series(
    archive: Archive,
    series: SeriesIdentity,
    settings: Settings,
    memory: EntryMemory | None = None,
) -> SeriesMetadata:
    """Make the document of a series from its files and the stored document."""
    present = originals(archive, series)
    stored = read_document(archive, series.metadata_key) or b"[]"
    known = (memory or EntryMemory()).entries(series.metadata_key, stored)
    entries = [entry for uid, entry in known.items() if uid in present]
    left_out = 0
    for uid in sorted(present - known.keys()):
        identity = InstanceIdentity(
            series.tenant_id, series.study_instance_uid, series.series_instance_uid, uid
        )
        try:
            entries.append(describe_instance(archive, identity, settings))
        except Unprocessable as error:
            left_out += 1
            _log.warning(
                "an instance has no metadata",
                extra={
                    "fields": {
                        "tenant": series.tenant_id,
                        "instance": identity.subject,
                        "code": error.code,
                    }
                },
            )
    content = document.compose(entries, left_out)
    return SeriesMetadata(content, len(entries), left_out, present)


def describe_instance(
    archive: Archive, identity: InstanceIdentity, settings: Settings
) -> document.Entry:
    """Make the entry of one instance from its file.

    Raises
    ------
    NotFound
        If there is no such instance.
    Unprocessable
        If the file cannot be read as DICOM.
    """
    root = dicomweb.dicomweb_root(settings, identity.tenant_id)
    uids = (
        identity.study_instance_uid,
        identity.series_instance_uid,
        identity.sop_instance_uid,
    )
    with archive.open(identity.key) as file:
        return document.make_entry(
            file, uids, lambda path: dicomweb.bulk_data_uri(root, identity, path)
        )

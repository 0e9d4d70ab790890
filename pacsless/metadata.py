"""The metadata of a series as it is now: what its document says, plus new files.

Originals never change, so an entry once made stays right and only files that
have none are read. build_metadata stores the result; wado_rs answers with it
when the stored document lags behind the files.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pacsless import dicomweb
from pacsless.dicom import document
from pacsless.errors import InvalidIdentity, NotFound, Unprocessable
from pacsless.identity import InstanceIdentity, SeriesIdentity

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


def originals(archive: Archive, series: SeriesIdentity) -> frozenset[str]:
    """Return the SOP Instance UIDs of the files of a series."""
    found = set()
    for stat in archive.list(f"{series.folder}/"):
        try:
            found.add(InstanceIdentity.of_key(stat.key).sop_instance_uid)
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


def describe_series(archive: Archive, series: SeriesIdentity, settings: Settings) -> SeriesMetadata:
    """Make the document of a series from its files and the stored document."""
    present = originals(archive, series)
    known = _known_entries(archive, series)
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


def _known_entries(archive: Archive, series: SeriesIdentity) -> dict[str, document.Entry]:
    stored = read_document(archive, series.metadata_key)
    known = {}
    for line in document.lines(stored or b"[]"):
        try:
            entry = document.Entry.of_line(line)
        except ValueError:
            continue  # damaged: the file is read again
        known[entry.sop_instance_uid] = entry
    return known

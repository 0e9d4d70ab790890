"""Reading the files a batch is about, each once among all who need it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from functions.extract_tags.tags import Tags, read_tags
from pacsless.dicom import document
from pacsless.errors import NotFound, Unprocessable
from pacsless.events import InstanceStored
from pacsless.identity import InstanceIdentity
from pacsless.metadata import describe_series, read_attributes
from pacsless.strict_json import dumps, loads
from pacsless.tombstones import is_deleted, received_at

if TYPE_CHECKING:
    from pacsless.archive import Archive, Stat
    from pacsless.events import Json
    from pacsless.identity import SeriesIdentity
    from pacsless.read_files import ReadFiles
    from pacsless.settings import Settings

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Read:
    """An event and what its file says."""

    event: InstanceStored
    tags: Tags
    file_time: str
    """Tells the file from one that was deleted before."""


def read_batch(
    batch: Sequence[InstanceStored],
    archive: Archive,
    settings: Settings,
    read_files: ReadFiles | None = None,
) -> list[Read]:
    """Read the files of a batch, one for each instance, in the order of their identities.

    What was deleted is left out, and what tells of a file that was there before another.

    Raises
    ------
    Unprocessable
        If there is no such file, it is another one, or it is no DICOM.
    """
    told: dict[InstanceIdentity, list[InstanceStored]] = {}
    for event in batch:
        told.setdefault(event.identity, []).append(event)
        if told[event.identity][0].sha256 != event.sha256:
            raise Unprocessable("two-digests", "two events of the batch disagree about one file")
    events: dict[InstanceIdentity, InstanceStored] = {}
    files: dict[str, dict[InstanceIdentity, Stat]] = {}
    for identity in sorted(told):
        for event in told[identity]:
            file = _file_of(event, archive)
            if file is not None:
                events[identity] = event
                files.setdefault(identity.tenant_id, {})[identity] = file
                break
    found = []
    for tenant, ours in files.items():
        left = read_files.find(tenant, list(ours.values())) if read_files else {}
        read: list[tuple[Stat, bytes]] = []
        try:
            for identity, file in ours.items():
                if file.key in left:
                    attributes, _ = left[file.key]
                else:
                    attributes = _attributes(identity, file, archive, settings)
                    if read_files and read_files.wants(file):
                        read.append((file, dumps(attributes)))
                tags = _tags(identity, attributes)
                found.append(Read(events[identity], tags, received_at(file)))
        finally:
            # Also of a batch with a bad file, which is halved and comes again.
            if read_files:
                read_files.leave(tenant, read)
    return found


def _file_of(event: InstanceStored, archive: Archive) -> Stat | None:
    """Find the file of an event; None if it was deleted."""
    key = event.identity.key
    if event.file_path != key:
        raise Unprocessable("file-path", "FilePath is not the path of the instance")
    file = archive.stat(key)
    if file is not None and file.size == event.file_size:
        # A file's own event states its time, and that of a duplicate a later one.
        is_older = event.received_at < received_at(file)
        return None if is_older and is_deleted(archive, event.identity) else file
    if is_deleted(archive, event.identity):
        return None
    if file is None:
        raise Unprocessable("no-such-file", "the instance's file is not in the archive")
    raise Unprocessable("file-size", "the file's size is not the event's FileSize")


def tags_of(
    series: SeriesIdentity, archive: Archive, settings: Settings, read_files: ReadFiles | None
) -> Iterator[Tags]:
    """Yield what the index keeps of every file there is of a series, one at a time."""
    made = describe_series(archive, series, settings, read_files=read_files)
    for line in document.lines(made.content):
        attributes: Json = loads(line)
        identity = InstanceIdentity(series.tenant_id, *document.identifiers_of(attributes))
        yield read_tags(identity, attributes)


def _attributes(
    identity: InstanceIdentity, file: Stat, archive: Archive, settings: Settings
) -> Json:
    try:
        return read_attributes(archive, identity, settings, file)
    except NotFound:
        raise Unprocessable("no-such-file", "the instance's file is not in the archive") from None


def _tags(identity: InstanceIdentity, attributes: Json) -> Tags:
    tags = read_tags(identity, attributes)
    if tags.warnings:
        _log.warning(
            "attributes were cleaned or left out of the index",
            extra={"fields": {"instance": identity.subject, "keywords": tags.warnings}},
        )
    return tags

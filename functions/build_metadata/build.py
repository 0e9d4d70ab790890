"""Writing metadata documents: each series of a batch once, then each study once.

Builders need no lock. Each writes a whole document made from the files there
are, and looks again afterwards: whoever writes last has seen everything. Of
what has no files any more there is no document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pacsless.dicom import document
from pacsless.entries import EntryMemory
from pacsless.errors import Busy
from pacsless.identity import SeriesIdentity, study_metadata_key
from pacsless.metadata import (
    SeriesMetadata,
    describe_series,
    originals,
    read_document,
    remove_document,
    store_document,
)

if TYPE_CHECKING:
    from pacsless.archive import Archive, Stat
    from pacsless.postgres import Database, Transaction
    from pacsless.read_files import ReadFiles
    from pacsless.settings import Settings

_LOOKS: Final = 20
"""Times to build a document that instances keep arriving for, before the event is retried."""

_UPSERT: Final = """
INSERT INTO metadata_document AS stored
    (tenant_id, study_instance_uid, series_instance_uid, instances, left_out, revision, sha256)
VALUES (:tenant, :study, :series, :instances, :left_out, :revision, :sha256)
ON CONFLICT (tenant_id, study_instance_uid, series_instance_uid) DO UPDATE SET
    instances = excluded.instances, left_out = excluded.left_out,
    revision = greatest(stored.revision, excluded.revision),
    sha256 = excluded.sha256, built_at = now()
WHERE (stored.instances, stored.left_out, stored.sha256)
        <> (excluded.instances, excluded.left_out, excluded.sha256)
    OR stored.revision < excluded.revision
"""
_FORGET: Final = """
DELETE FROM metadata_document
WHERE tenant_id = :tenant AND study_instance_uid = :study AND series_instance_uid = :series
"""


@dataclass(frozen=True, slots=True)
class Built:
    """What is recorded of a stored document."""

    tenant_id: str
    study_instance_uid: str
    series_instance_uid: str
    """Empty for the document of a study."""
    instances: int
    left_out: int
    revision: int
    sha256: str

    @property
    def is_gone(self) -> bool:
        """Whether there are no files, and so no document."""
        return not self.instances + self.left_out


def build(
    revised: Iterable[tuple[SeriesIdentity, int]],
    archive: Archive,
    database: Database,
    settings: Settings,
    *,
    memory: EntryMemory | None = None,
    read_files: ReadFiles | None = None,
) -> list[Built]:
    """Bring the documents of series, and of their studies, up to date.

    Parameters
    ----------
    revised
        Series and their revisions; a series may be there several times.
    archive, database, settings
        Where to.
    memory
        Of earlier calls in this process.
    read_files
        Of other processes.

    Raises
    ------
    Unavailable
        If the archive or PostgreSQL does not answer.
    Busy
        If instances arrive faster than documents can be built.
    """
    newest: dict[SeriesIdentity, int] = {}
    for series, revision in revised:
        newest[series] = max(revision, newest.get(series, 0))
    memory = memory or EntryMemory()

    def describe(series: SeriesIdentity) -> SeriesMetadata:
        return describe_series(archive, series, settings, memory, read_files)

    built = [
        _build_series(series, revision, archive, describe) for series, revision in newest.items()
    ]
    studies: dict[tuple[str, str], int] = {}
    for series, revision in newest.items():
        study = (series.tenant_id, series.study_instance_uid)
        studies[study] = max(revision, studies.get(study, 0))
    for (tenant_id, study_instance_uid), revision in studies.items():
        built.append(_build_study(tenant_id, study_instance_uid, revision, archive))
    database.run(lambda transaction: _record(transaction, built))
    return built


def _build_series(
    series: SeriesIdentity,
    revision: int,
    archive: Archive,
    describe: Callable[[SeriesIdentity], SeriesMetadata],
) -> Built:
    for _ in range(_LOOKS):
        made = describe(series)
        before = _versions(made.originals)
        # A file may have been deleted since, and another have its name: before what was
        # read of it is stored, or made use of again.
        now = _versions(originals(archive, series))
        if before.items() <= now.items():
            _put(archive, series.metadata_key, made.content)
            now = _versions(originals(archive, series))
        if not before.items() <= now.items():
            remove_document(archive, series.metadata_key)
        elif now == before:
            return Built(
                series.tenant_id,
                series.study_instance_uid,
                series.series_instance_uid,
                made.instances,
                made.left_out,
                revision,
                hashlib.sha256(made.content).hexdigest(),
            )
        del made  # before another one is made, which is as large
    raise Busy("still-arriving", "instances arrive faster than the document can be built")


def _versions(files: Mapping[str, Stat]) -> dict[str, tuple[int, float]]:
    return {uid: (one.size, one.modified) for uid, one in files.items()}


def _put(archive: Archive, key: str, content: bytes) -> None:
    if document.count(content):
        store_document(archive, key, content)
    else:
        remove_document(archive, key)


def _build_study(tenant_id: str, study_instance_uid: str, revision: int, archive: Archive) -> Built:
    """Concatenate the series' documents; those that are missing have their own event to come."""
    key = study_metadata_key(tenant_id, study_instance_uid)
    content, digest = b"", ""
    for _ in range(_LOOKS):
        content, before = b"", digest  # never two at a time: it may be tens of megabytes
        content = document.join(_series_documents(tenant_id, study_instance_uid, archive))
        digest = hashlib.sha256(content).hexdigest()
        if digest == before:
            break
        _put(archive, key, content)
    else:
        raise Busy("still-arriving", "series arrive faster than the document can be built")
    entries = sum(1 for _ in document.lines(content))
    return Built(
        tenant_id,
        study_instance_uid,
        "",
        entries,
        document.count(content) - entries,
        revision,
        digest,
    )


def _series_documents(tenant_id: str, study_instance_uid: str, archive: Archive) -> list[bytes]:
    found = []
    for uid in sorted(archive.folders(f"{tenant_id}/{study_instance_uid}/")):
        series = SeriesIdentity(tenant_id, study_instance_uid, uid)
        content = read_document(archive, series.metadata_key)
        if content is not None:
            found.append(content)
    return found


def _record(transaction: Transaction, built: list[Built]) -> None:
    # Sorted, so that two builders of one study lock rows in the same order.
    for one in sorted(
        built, key=lambda b: (b.tenant_id, b.study_instance_uid, b.series_instance_uid)
    ):
        which = {
            "tenant": one.tenant_id,
            "study": one.study_instance_uid,
            "series": one.series_instance_uid,
        }
        if one.is_gone:
            transaction.run(_FORGET, **which)
            continue
        transaction.run(
            _UPSERT,
            **which,
            instances=one.instances,
            left_out=one.left_out,
            revision=one.revision,
            sha256=one.sha256,
        )

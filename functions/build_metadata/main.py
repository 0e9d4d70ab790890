"""dicom_state_queue → metadata/…json: DICOM JSON of series and studies, ready to be sent."""

from __future__ import annotations

from collections.abc import Sequence

from functions.build_metadata.build import build
from pacsless.archive import Archive
from pacsless.codec import Delivered
from pacsless.entries import EntryMemory
from pacsless.events import SeriesRevised
from pacsless.handler import handles
from pacsless.postgres import Database
from pacsless.read_files import ReadFiles
from pacsless.settings import Settings


@handles(SeriesRevised)
def build_metadata(
    batch: Sequence[Delivered[SeriesRevised]],
    archive: Archive,
    database: Database,
    settings: Settings,
    *,
    memory: EntryMemory,
    read_files: ReadFiles,
) -> None:
    """Rebuild what the revised series, and their studies, are described by."""
    revised = [(one.event.identity, one.event.revision) for one in batch]
    build(revised, archive, database, settings, memory=memory, read_files=read_files)

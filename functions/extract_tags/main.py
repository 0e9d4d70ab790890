"""storage_queue → PostgreSQL, dicom_state_queue, dicom_image_queue and conversion_queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from functions.extract_tags.index import index
from pacsless.archive import Archive
from pacsless.codec import Delivered
from pacsless.events import Event, InstanceDeleted, InstanceStored
from pacsless.handler import handles
from pacsless.postgres import Database
from pacsless.read_files import ReadFiles
from pacsless.settings import Settings


@handles(InstanceStored, InstanceDeleted)
def extract_tags(
    batch: Sequence[Delivered[InstanceStored | InstanceDeleted]],
    archive: Archive,
    database: Database,
    settings: Settings,
    read_files: ReadFiles,
) -> Iterable[Event]:
    """Index the instances of a batch and say what is known of them now."""
    return index([one.event for one in batch], archive, database, settings, read_files)

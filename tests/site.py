"""A tenant with everything derived: real archive, PostgreSQL and warehouse, functions in-process.

Events go from the producer straight to the functions, so that a test sees their
effects when `publish` returns; what Kafka adds is tested with the whole stack.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydicom.uid import generate_uid

from functions.build_metadata.build import build
from functions.extract_tags.index import index
from functions.load_doris.rows import loads
from pacsless.archive import ArchiveUnavailable, Stat
from pacsless.archive.files import FileArchive
from pacsless.bus import Producer
from pacsless.codec import Delivered, now
from pacsless.errors import Unprocessable
from pacsless.events import Event, InstanceDeleted, InstanceStored, SeriesRevised
from pacsless.postgres import Database
from pacsless.reconcile.backlog import Backlog
from pacsless.reconcile.look import Places
from pacsless.reconcile.mend import Mend
from pacsless.reconcile.rebuild import Rebuild
from pacsless.reconcile.reconcile import Reconcile
from pacsless.reconcile.report import Report
from pacsless.reconcile.warehouse import WarehouseRows
from pacsless.settings import Settings
from pacsless.stream_load import StreamLoad
from pacsless.warehouse import Warehouse
from tests.instances import make_dataset, new_tenant, store

_TABLES = ("instance", "series", "study", "patient", "metadata_document", "sweep", "announced_file")
_WAREHOUSE = ("dicom_state_meta", "dicom_image_meta")


class BadDisk(FileArchive):
    """An archive with files that cannot be read, root or not."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.closed: set[str] = set()
        self.bad: set[str] = set()

    def open(self, key: str, known: Stat | None = None) -> BinaryIO:
        if key in self.closed:
            raise ArchiveUnavailable("archive", "cannot read the file: Permission denied")
        return cast(BinaryIO, BadSector()) if key in self.bad else super().open(key, known)


class BadSector(io.RawIOBase):
    """A file whose first block is bad."""

    def read(self, size: int = -1) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class Pipeline(Producer):
    """The functions, where a producer sends events."""

    def __init__(self, places: Places, settings: Settings, stream_load: StreamLoad) -> None:
        self.places, self._ours, self.stream_load = places, settings, stream_load
        self.published: list[Event] = []
        self.dead: list[Event] = []
        self._offsets = count()

    def publish(self, events: Iterable[Event], source: str) -> None:
        archive, database = self.places.archive, self.places.database
        derived: list[Event] = []
        for event in events:
            self.published.append(event)
            if isinstance(event, InstanceStored | InstanceDeleted):
                try:
                    derived += index([event], archive, database, self._ours)
                except Unprocessable:
                    self.dead.append(event)
            else:
                derived.append(event)
        revised = [(e.identity, e.revision) for e in derived if isinstance(e, SeriesRevised)]
        if revised:
            build(revised, archive, database, self._ours)
        self.load(derived)

    def load(self, events: Iterable[Event]) -> None:
        batch = [
            Delivered(event, event.id, now(), event.TOPIC, 0, next(self._offsets))
            for event in events
            if event.TOPIC in ("dicom_state_queue", "dicom_image_queue")
        ]
        for one in loads(batch):
            self.stream_load.load(one.table, one.rows, one.label)


class Quiet(Backlog):
    """No backlog: the functions are done when `publish` returns."""

    def waiting(self) -> int:
        return 0


class Site:
    """One tenant and its places."""

    def __init__(self, folder: Path, settings: Settings, warehouse: Warehouse) -> None:
        self.tenant, self.folder, self.warehouse = new_tenant(), folder, warehouse
        self.settings = replace(
            settings,
            archive=f"file://{folder}",
            doris=f"http://127.0.0.1:{warehouse.fe_port}",
            doris_mysql=f"127.0.0.1:{warehouse.mysql_port}",
            doris_redirect_hosts=(f"127.0.0.1:{warehouse.be_port}",),
        )
        self.archive = BadDisk(folder)
        self.database = Database.from_settings(self.settings)
        self.places = Places(
            self.archive, self.database, WarehouseRows.from_settings(self.settings)
        )
        stream_load = StreamLoad.from_settings(self.settings)
        self.pipeline = Pipeline(self.places, self.settings, stream_load)
        self.backlog = Quiet(self.settings)

    def close(self) -> None:
        self.places.warehouse.close()
        self.database.close()

    def add(self, instances: int, study: str = "", series: str = "") -> list[InstanceStored]:
        """Store a series that nobody has been told of."""
        study, series = study or generate_uid(), series or generate_uid()
        return [
            store(
                self.archive,
                self.tenant,
                make_dataset(
                    StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number
                ),
            )
            for number in range(1, instances + 1)
        ]

    def break_file(self, key: str, *, at_open: bool = False) -> None:
        """Have a file give an error when it is read, or opened."""
        (self.archive.closed if at_open else self.archive.bad).add(key)

    def fill(self, instances: int = 3, studies: int = 1) -> list[InstanceStored]:
        """Store studies of two series, and have the functions handle them."""
        found = []
        for _ in range(studies):
            study = generate_uid()
            found += [*self.add(instances, study), *self.add(1, study)]
        self.pipeline.publish(found, "/tests")
        return found

    def reconcile(self, *, repair: bool = False, share: float = 0.0) -> Report:
        mend = Mend(self.places, self.pipeline, self.backlog) if repair else None
        task = Reconcile(self.places, mend, settle=0)
        return task.run(self.tenant, share=share, restart=True)

    @property
    def rebuild(self) -> Rebuild:
        return Rebuild(self.places, self.pipeline, self.backlog)

    def sql(self, statement: str, **values: object) -> list[Any]:
        return self.database.run(lambda t: t.run(statement, tenant=self.tenant, **values))

    def duck(self, statement: str, *values: object) -> list[Any]:
        with self.warehouse.store.cursor() as cursor:
            return cursor.execute(statement, list(values)).fetchall()

    def forget_index(self) -> None:
        for table in _TABLES:
            self.sql(f"DELETE FROM {table} WHERE tenant_id = :tenant")

    def forget_warehouse(self) -> None:
        for table in _WAREHOUSE:
            self.duck(f"DELETE FROM pacsless.{table} WHERE tenant_id = ?", self.tenant)

    def forget_metadata(self) -> None:
        shutil.rmtree(self.folder / "metadata" / self.tenant, ignore_errors=True)

    def snapshot(self) -> dict[str, Any]:
        """Everything derived, less revisions and the times of changes."""
        found: dict[str, Any] = {}
        for table in _TABLES[:5]:
            rows = self.sql(
                f"SELECT to_jsonb(t) - 'revision' - 'updated_at' - 'built_at' AS row FROM {table} t"
                " WHERE tenant_id = :tenant ORDER BY 1"
            )
            found[table] = [row[0] for row in rows]
        for table in _WAREHOUSE:
            found[table] = self.duck(
                f"SELECT * EXCLUDE (event_seq{', updated_at' if 'state' in table else ''})"
                f" FROM pacsless.{table} WHERE tenant_id = ? ORDER BY ALL",
                self.tenant,
            )
        metadata = self.folder / "metadata" / self.tenant
        found["documents"] = {
            path.relative_to(metadata).as_posix(): path.read_bytes()
            for path in metadata.rglob("*.json*")
        }
        return found

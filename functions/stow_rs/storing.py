"""What this process stores with: the archive, an outbox of its own and the limits."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import ClassVar, Final, Self

import flask

from functions.stow_rs.body import PATIENCE_SECONDS, Paced
from pacsless import metrics
from pacsless.archive import Archive, open_archive
from pacsless.archive.files import FileArchive
from pacsless.errors import Unavailable
from pacsless.outbox import DiskSpace, Outbox, OutboxOwned, outbox_folders
from pacsless.settings import FromEnviron, InvalidSetting, Settings
from pacsless.storage import Answer, Limits, StorageService, incoming_owner, recover

NAME: Final = "stow_rs"
_LOOK_SECONDS: Final = 0.5
_SEALING: Final = 8
"""Instances made durable at a time: a disk does several in the time of one."""
_DELETING: Final = 8
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StowSettings(FromEnviron):
    """Settings of STOW-RS."""

    PREFIX: ClassVar[str] = "PACSLESS_STOW_"

    max_object_mb: int = 16_384
    """Largest instance, in MiB; the request is ended at a larger one."""
    max_tenant_mb: int = 65_536
    """Most that a tenant may be sending to one process at a time, in MiB."""
    max_parts: int = 20_000
    """Most parts of one request."""
    high_water_percent: int = 90
    """How full the disks of spool and archive may get before instances are refused."""

    def __post_init__(self) -> None:
        for name, value, lowest, highest in (
            ("MAX_OBJECT_MB", self.max_object_mb, 1, 1 << 30),
            ("MAX_TENANT_MB", self.max_tenant_mb, 1, 1 << 30),
            ("MAX_PARTS", self.max_parts, 1, 1_000_000),
            ("HIGH_WATER_PERCENT", self.high_water_percent, 0, 100),
        ):
            if not lowest <= value <= highest:
                raise InvalidSetting(
                    "setting", f"{self.PREFIX}{name} must be from {lowest} to {highest}"
                )


class Storing:
    """Stores instances of any tenant.

    Parameters
    ----------
    service
        What receptions share.
    own
        The limits of a request.
    spool
        A folder on the disk that what is received may use.
    """

    def __init__(self, service: StorageService, own: StowSettings, spool: Path) -> None:
        self.service = service
        self.own = own
        self.spool = spool
        self._bodies: set[Paced] = set()
        self.pool = ThreadPoolExecutor(_SEALING, thread_name_prefix="sealing")
        # Of its own, so that no upload waits until a study is deleted.
        self.deleting = ThreadPoolExecutor(_DELETING, thread_name_prefix="deleting")
        self.reading_attributes = threading.Lock()
        """Of one request at a time: read, they take many times their bytes."""
        # A disk that is stuck keeps whoever asks it waiting.
        for name, look in (("disks", self._look_after_disks), ("bodies", self._look_after_bodies)):
            threading.Thread(target=_keep_looking, args=(look,), name=name, daemon=True).start()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Take an outbox that nobody has, and look after what was left in it.

        Raises
        ------
        Unavailable
            If the archive does not answer, or the journal's disk does not.
        """
        own = StowSettings.from_environ()
        archive, spool = open_archive(settings), Path(settings.spool)
        name, outbox = _take_outbox(archive, spool)
        folders = [spool, *([archive.root] if isinstance(archive, FileArchive) else [])]
        service = StorageService(
            archive,
            outbox,
            DiskSpace(folders, own.high_water_percent),
            incoming_owner(spool, name),
            _count,
            limits=Limits(own.max_object_mb << 20, own.max_tenant_mb << 20),
        )
        return cls(service, own, spool)

    def check(self) -> None:
        """See that instances can be stored.

        Raises
        ------
        Unavailable
            If a disk is too full.
        """
        if self.service.space.is_full:
            raise Unavailable("disk-full", "a disk is above its high-water mark")

    @contextmanager
    def paced(self, request: flask.Request) -> Iterator[Paced]:
        """Watch the body of a request: who is too slow is hung up on."""
        connection: socket.socket | None = request.environ.get("gunicorn.socket")

        def hang_up() -> None:
            if connection is not None:
                with suppress(OSError):  # it is gone
                    connection.shutdown(socket.SHUT_RD)

        body = Paced(request.stream, hang_up, request.content_length)
        self._bodies.add(body)
        try:
            yield body
        finally:
            self._bodies.discard(body)

    def _look_after_disks(self) -> None:
        """Ask the disks what they will take, and give the journal what they did not."""
        self.service.space.look()
        self.service.outbox.settle()

    def _look_after_bodies(self) -> None:
        for body in self._bodies.copy():
            if body.waited > PATIENCE_SECONDS:
                body.end()


def _count(answer: Answer, received: int) -> None:
    metrics.STORED.labels(answer.outcome, f"{answer.status:04X}").inc()
    metrics.STORED_BYTES.inc(received)


def _keep_looking(look: Callable[[], None]) -> None:
    while True:
        time.sleep(_LOOK_SECONDS)
        try:
            look()
        except Exception:  # noqa: BLE001  # whatever it is, the next look may go well
            _log.exception("what is looked after could not be")


def _take_outbox(archive: Archive, spool: Path) -> tuple[str, Outbox]:
    """Take the first outbox that is free; look after every one that nobody has.

    More processes may have run before, and one of them may have ended with an
    instance in its hands.
    """
    taken: tuple[str, Outbox] | None = None
    known = [one.name for one in outbox_folders(spool) if one.name.startswith(f"{NAME}-")]
    for name in known:
        try:
            outbox = Outbox(spool / "outbox" / name)
        except OutboxOwned:
            continue
        found = recover(archive, outbox, incoming_owner(spool, name))
        if any(found.values()):
            _log.warning("recovered", extra={"fields": {"outbox": name, **found}})
        if taken is None:
            taken = name, outbox
        else:
            outbox.close()
    return taken or _make_outbox(spool, set(known))


def _make_outbox(spool: Path, known: set[str]) -> tuple[str, Outbox]:
    for number in count():
        name = f"{NAME}-{number}"
        if name not in known:
            with suppress(OutboxOwned):  # another process makes one, too
                return name, Outbox(spool / "outbox" / name)
    raise AssertionError("numbers do not end")

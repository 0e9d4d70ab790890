"""``pacsless access-log``: nginx's access log, as it grows, to ``access_log_queue``.

`ship` looks at the log time and again, publishes the lines that are there as
`AccessesLogged` events (`pacsless.access_lines`) and records how far it came only
when the broker has acknowledged. So a restart loses nothing and repeats at most a
chunk, perhaps cut into other events; whoever counts goes by the requests' ids.
`FollowedLog` also bounds the log: past a size it is renamed and nginx told to
reopen; the renamed file is followed until the next rotation, as workers may still
be writing to it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Flag
from typing import Final

from pacsless.access_lines import events_of
from pacsless.bus import Producer
from pacsless.errors import PacslessError
from pacsless.events import AccessesLogged
from pacsless.settings import Settings

SOURCE: Final = "/nginx"
"""CloudEvents ``source`` of these events."""

_log = logging.getLogger(__name__)
_CHUNK: Final = 1 << 20
_NICE: Final = 19


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of one file, and where reading goes on after them."""

    file: str
    lines: tuple[bytes, ...]
    end: int
    last: bool
    """Whether nothing more was there: neither in this file nor in one after it."""


class FollowedLog:
    """A log file that grows, its renamed predecessor, and how far both were read.

    Parameters
    ----------
    log
        What nginx writes; need not exist yet.
    position
        File that remembers how far was read; durable.
    nginx_pid
        nginx's pid file.
    rotate_at
        Bytes from which on the log is rotated.
    """

    def __init__(self, log: Path, position: Path, nginx_pid: Path, rotate_at: int) -> None:
        self._log = log
        self._old = log.with_name(f"{log.name}.1")
        self._position = position
        self._nginx_pid = nginx_pid
        self._rotate_at = rotate_at
        self._offsets = self._load()

    def _load(self) -> dict[str, int]:
        try:
            return {str(k): int(v) for k, v in json.loads(self._position.read_text()).items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError):
            _log.warning("the position is unreadable; the log is sent again from its start")
            return {}

    def read(self) -> Chunk | None:
        """Return the next whole lines, the predecessor's first; None if there are none."""
        for path in (self._old, self._log):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                status = os.fstat(file.fileno())
                key = f"{status.st_dev}:{status.st_ino}"
                offset = self._offsets.get(key, 0)
                if offset > status.st_size:  # truncated by hand
                    offset = 0
                file.seek(offset)
                data = file.read(_CHUNK)
                last = path is self._log and len(data) < _CHUNK
                while data and b"\n" not in data and (more := file.read(_CHUNK)):
                    data += more
                whole = data[: data.rfind(b"\n") + 1]
                if whole:
                    return Chunk(key, tuple(whole.splitlines()), offset + len(whole), last)
        return None

    def done(self, chunk: Chunk) -> None:
        """Remember, durably, that `chunk` needs not be read again."""
        self._save(self._offsets | {chunk.file: chunk.end})

    def _save(self, offsets: dict[str, int]) -> None:
        temporary = self._position.with_name(f".{self._position.name}.tmp")
        with temporary.open("w") as file:
            json.dump(offsets, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._position)
        self._offsets = offsets

    def rotate(self) -> bool:
        """Rotate the log if it is large; call it when all was read."""
        try:
            status = self._log.stat()
        except FileNotFoundError:
            # Interrupted between the renaming and the signal; nginx not started is no matter.
            if self._old.exists():
                self._reopen()
            return False
        if status.st_size < self._rotate_at:
            return False
        # The file that goes is forgotten before its inode can be given to another.
        self._old.unlink(missing_ok=True)
        key = f"{status.st_dev}:{status.st_ino}"
        self._save({key: self._offsets.get(key, 0)})
        self._log.rename(self._old)
        self._reopen()
        return True

    def _reopen(self) -> None:
        try:
            pid = int(self._nginx_pid.read_text())
            if Path(f"/proc/{pid}/comm").read_text().strip() == "nginx":
                os.kill(pid, signal.SIGUSR1)
        except (OSError, ValueError):
            _log.info("nginx is not running; it opens its log when it starts")


def ship(
    log: FollowedLog,
    publish: Callable[[Sequence[AccessesLogged]], None],
    stop: Flag,
    poll_seconds: float = 0.5,
) -> None:
    """Publish what the log holds and what it will hold, until `stop` is set.

    Parameters
    ----------
    log
        The log.
    publish
        Returns when the broker has acknowledged all; raises a `PacslessError` if not.
    stop
        Ends the work between two chunks.
    poll_seconds
        How long to wait for new lines where there was none. Where there were, twice as
        long: a look that finds some costs a record, requests to Kafka and a write to
        disk, however few they are.
    """
    pause = poll_seconds
    while not stop.is_set():
        chunk = log.read()
        if chunk is not None:
            try:
                publish(events_of(chunk.lines))
            except PacslessError as error:
                told = {"code": error.code, "text": error.message}
                _log.warning("not acknowledged; trying again", extra={"fields": told})
                stop.wait(pause)
                pause = min(pause * 2, 15.0)
                continue
            pause = poll_seconds
            log.done(chunk)
        if (chunk is None or chunk.last) and not log.rotate():
            stop.wait(poll_seconds if chunk is None else 2 * poll_seconds)


def run(log: FollowedLog, settings: Settings) -> None:
    """Ship `log` to Kafka until SIGTERM or SIGINT; from the main thread.

    With the least priority: what was read can wait, and who is reading does not.
    """
    os.nice(_NICE)
    stop = Flag()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    producer = Producer(settings, "pacsless-access-log")
    ship(log, lambda events: producer.publish(events, SOURCE), stop)
    with contextlib.suppress(PacslessError):  # what was not acknowledged is sent again
        producer.close()

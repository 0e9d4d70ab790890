"""``pacsless access-log``: nginx's access log, line by line, to ``access_log_queue``.

nginx writes one JSON object per DICOMweb request (``log_format dicomweb`` in
``charts/pacsless/files/nginx.conf.template``). `ship` publishes each as an
`AccessLogged` event and records how far it came only when the broker has
acknowledged, so a restart repeats at most a batch, with the same event ids,
and loses nothing. `FollowedLog` also bounds the log: past a size it is renamed
and nginx told to reopen; the renamed file is followed until the next rotation,
as workers may still be writing to it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final

from pacsless.access_routes import route_of, uids
from pacsless.bus import Producer
from pacsless.errors import PacslessError, Unprocessable
from pacsless.events import AccessLogged
from pacsless.settings import Settings
from pacsless.times import iso_time

SOURCE: Final = "/nginx"
"""CloudEvents ``source`` of these events."""

_log = logging.getLogger(__name__)
_CHUNK: Final = 256 * 1024
_NICE: Final = 19


def read_line(line: bytes) -> AccessLogged:
    """Turn a line of the log into its event.

    Raises
    ------
    Unprocessable
        If nginx did not write it, or not wholly.
    """
    try:
        entry: dict[str, Any] = json.loads(line.decode("utf-8", "replace"))
        path = str(entry["path"]).partition("?")[0]
        method = str(entry["method"])
        route, about = route_of(method, path)
        if named := str(entry.get("instance", "")):
            about = uids(*named.split("/"))  # of WADO-URI, whose path names nothing
        study, series, instance = about
        at = datetime.fromisoformat(entry["time"])
        return AccessLogged(
            tenant_id=str(entry["tenant"]),
            request_id=str(entry["request_id"]),
            accessed_at=iso_time(at),
            method=method,
            route=route,
            path=path,
            study_instance_uid=study,
            series_instance_uid=series,
            sop_instance_uid=instance,
            status=int(entry["status"]),
            bytes_sent=int(entry["bytes_sent"]),
            duration_ms=round(float(entry["request_time"]) * 1000, 3),
            remote_address=str(entry["remote_addr"]),
            user_agent=str(entry["user_agent"]),
            user_id=str(entry.get("user", "")),
        )
    except (KeyError, TypeError, ValueError):
        raise Unprocessable("access-log", "a line of the access log is not as nginx's") from None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of one file, and where reading goes on after them."""

    file: str
    lines: tuple[bytes, ...]
    end: int


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
                while data and b"\n" not in data and (more := file.read(_CHUNK)):
                    data += more
                whole = data[: data.rfind(b"\n") + 1]
                if whole:
                    return Chunk(key, tuple(whole.splitlines()), offset + len(whole))
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
    publish: Callable[[Sequence[AccessLogged]], None],
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
        Ends the work between two batches.
    poll_seconds
        How long to wait for new lines.
    """
    pause = poll_seconds
    while not stop.is_set():
        chunk = log.read()
        if chunk is None:
            if not log.rotate():
                stop.wait(poll_seconds)
            continue
        try:
            publish(_events(chunk.lines))
        except PacslessError as error:
            told = {"code": error.code, "text": error.message}
            _log.warning("not acknowledged; trying again", extra={"fields": told})
            stop.wait(pause)
            pause = min(pause * 2, 15.0)
            continue
        pause = poll_seconds
        log.done(chunk)


def _events(lines: Sequence[bytes]) -> list[AccessLogged]:
    events = []
    for line in lines:
        try:
            events.append(read_line(line))
        except Unprocessable as error:
            _log.warning("a line was left out", extra={"fields": {"code": error.code}})
    return events


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

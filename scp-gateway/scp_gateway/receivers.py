"""The processes that serve associations, as the gateway sees them."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from scp_gateway.asked import Peer
from scp_gateway.channel import Channel

_STATISTICS_SECONDS: Final = 5.0
_SILENT_SECONDS: Final = 30.0
_SHORT_LIFE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = (0.1, 5.0)
_log = logging.getLogger(__name__)

Statistics = dict[str, Any]
NOTHING: Final[Statistics] = {
    "answers": [], "ends": {}, "bytes": 0, "commitments": {}, "is_full": False,
}  # fmt: skip


def add(one: Statistics, other: Statistics) -> Statistics:
    """Add up what two processes have counted."""
    answers = Counter({(outcome, status): n for outcome, status, n in one["answers"]})
    answers.update({(outcome, status): n for outcome, status, n in other["answers"]})
    return {
        "answers": [[*key, count] for key, count in answers.items()],
        "ends": dict(Counter(one["ends"]) + Counter(other["ends"])),
        "bytes": one["bytes"] + other["bytes"],
        "commitments": dict(Counter(one["commitments"]) + Counter(other["commitments"])),
        "is_full": one["is_full"] or other["is_full"],
    }


class ReceiverProcess:
    """One of them, started again whenever it ends.

    Parameters
    ----------
    number
        Which.
    event
        Descriptor of the relay's eventfd.
    recover
        Called before each start, when nobody writes the receiver's outbox.
    first_message
        Tells what is told to a process first.
    on_ended
        Called with the number of each connection that ended.
    """

    def __init__(
        self,
        number: int,
        event: int,
        *,
        recover: Callable[[int], None],
        first_message: Callable[[], dict[str, Any]],
        on_ended: Callable[[int], None],
    ) -> None:
        self.number = number
        self.connections: set[int] = set()
        """Numbers of the connections it has."""
        self.is_ready = False
        self._event = event
        self._recover = recover
        self._first_message = first_message
        self._on_ended = on_ended
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._silent_since = float("inf")
        self._asked = 0
        self._statistics: tuple[int, Statistics] = (0, NOTHING)
        self._ended_statistics = NOTHING
        """Of the processes before this one."""
        self._thread = threading.Thread(
            target=self._keep_running, name=f"receiver-{number}", daemon=True
        )

    def start(self) -> None:
        """Start it; returns at once."""
        self._thread.start()

    def give(self, number: int, client: socket.socket, peer: Peer) -> None:
        """Hand a connection over.

        Raises
        ------
        OSError
            If the process cannot take it.
        """
        channel = self._channel
        if channel is None:
            raise OSError("the receiver is being started again")
        self.connections.add(number)
        try:
            channel.send({"connection": number, "peer": asdict(peer)}, client)
        except OSError:
            self.connections.discard(number)
            raise

    def tell(self, message: dict[str, Any]) -> None:
        """Send an order; a process that is not there gets its own at its start."""
        channel = self._channel
        if channel is not None:
            try:
                channel.send(message)
            except OSError:
                _log.warning("a receiver does not listen", extra=self._fields())

    def stop(self, seconds: float) -> None:
        """Have it stop: senders may finish for `seconds`."""
        self._stopping = True
        self.tell({"stop": seconds})

    def join(self, seconds: float) -> None:
        """Wait until it has stopped; kill it after `seconds`."""
        self._thread.join(seconds)
        process = self._process
        if process is not None and self._thread.is_alive():
            _log.error("a receiver does not stop and is killed", extra=self._fields())
            process.kill()
            self._thread.join(seconds)

    def statistics(self) -> tuple[bool, Statistics]:
        """Whether it answers, and what this process and those before it have counted."""
        with self._changed:
            self._asked += 1
            asked = self._asked
        self.tell({"statistics": asked})
        with self._changed:
            self._changed.wait_for(
                lambda: self._statistics[0] >= asked or self._channel is None, _STATISTICS_SECONDS
            )
            answers = self._statistics[0] >= asked
            return answers, add(self._ended_statistics, self._statistics[1])

    def check(self) -> None:
        """Kill a process that does not answer any more, so that another takes its place."""
        process = self._process
        if not self.is_ready or process is None or self.statistics()[0]:
            self._silent_since = float("inf")
        elif self._silent_since == float("inf"):
            self._silent_since = time.monotonic()
        elif time.monotonic() - self._silent_since > _SILENT_SECONDS:
            _log.error("a receiver does not answer and is killed", extra=self._fields())
            process.kill()

    def _keep_running(self) -> None:
        pause = _PAUSE_SECONDS[0]
        while not self._stopping:
            began = time.monotonic()
            try:
                self._recover(self.number)
                self._run()
            except Exception:  # noqa: BLE001  # whatever it is, there must be receivers
                _log.exception("a receiver could not be started", extra=self._fields())
            if self._stopping:
                return
            _log.error("a receiver ended and is started again", extra=self._fields())
            if time.monotonic() - began > _SHORT_LIFE_SECONDS:
                pause = _PAUSE_SECONDS[0]
            time.sleep(pause)
            pause = min(2 * pause, _PAUSE_SECONDS[1])

    def _run(self) -> None:
        """Start a process and listen to it until it ends."""
        channel, theirs = Channel.pair()
        with theirs:
            descriptors = (theirs.fileno(), self._event)
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "scp_gateway.receiver", str(self.number),
                 *map(str, descriptors)],
                pass_fds=descriptors,
            )  # fmt: skip
        try:
            channel.send(self._first_message())
            self._channel = channel
            if self._stopping:
                return  # told to before it was there: it ends with its channel
            while (received := channel.receive()) is not None:
                self._take(received[0])
        finally:
            self._channel = None
            self.is_ready = False
            channel.close()
            # Its channel is closed, so it ends by itself, or has.
            process.wait()
            self._forget_all()

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"ready": True}:
                self.is_ready = True
            case {"ended": number}:
                self.connections.discard(number)
                self._on_ended(number)
            case {"statistics": asked}:
                with self._changed:
                    self._statistics = asked, message
                    self._changed.notify_all()
            case {"stopped": statistics}:
                with self._changed:
                    self._statistics = self._asked, statistics

    def _forget_all(self) -> None:
        for number in self.connections.copy():
            self.connections.discard(number)
            self._on_ended(number)
        with self._changed:
            ended = add(self._ended_statistics, self._statistics[1])
            # A disk is full now, or not; what was is nothing to add up.
            self._ended_statistics = {**ended, "is_full": False}
            self._statistics = self._statistics[0], NOTHING
            self._changed.notify_all()

    def _fields(self) -> dict[str, Any]:
        return {"fields": {"receiver": self.number}}

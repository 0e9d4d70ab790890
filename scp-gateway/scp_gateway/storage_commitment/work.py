"""Steps on a few threads: work that is often in need of waiting, and never of a thread for it."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from pacsless.errors import PacslessError
from scp_gateway.storage_commitment.check import Progress
from scp_gateway.storage_commitment.commitment import fields_of

if TYPE_CHECKING:
    from scp_gateway.storage_commitment.check import Checker
    from scp_gateway.storage_commitment.commitment import Commitment
    from scp_gateway.storage_commitment.transactions import Held

Step = Callable[[], float | None]
"""Does a part of some work; returns after how many seconds it wants to go on, None at its end."""

_log = logging.getLogger(__name__)


class Outcomes:
    """How many times what happened; thread-safe."""

    def __init__(self, *names: str) -> None:
        self._counts = Counter(dict.fromkeys(names, 0))
        self._lock = threading.Lock()

    def add(self, name: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[name] += 1

    def counts(self) -> dict[str, int]:
        """Everything counted so far."""
        with self._lock:
            return dict(self._counts)


class Backoff:
    """Pauses that double, from the shortest to the longest."""

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest, self._longest = shortest, longest
        self._next = shortest

    def pause(self) -> float:
        """The next pause, in seconds."""
        now, self._next = self._next, min(self._next * 2, self._longest)
        return now

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has failed since the last `reset`."""
        return self._next == self._shortest

    def reset(self) -> None:
        """Begin again with the shortest."""
        self._next = self._shortest


class Steps:
    """Runs steps when they are due, on threads it starts when there is something to do."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._size = threads
        self._threads: list[threading.Thread] = []
        self._queue: list[tuple[float, int, Step]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False

    def add(self, step: Step, seconds: float = 0.0) -> None:
        """Run a step in `seconds`, and as often as it asks for it."""
        with self._changed:
            if self._stopping:
                return
            heapq.heappush(self._queue, (time.monotonic() + seconds, next(self._numbers), step))
            if len(self._threads) < self._size:
                number = len(self._threads)
                thread = threading.Thread(
                    target=self._run, name=f"{self._name}-{number}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def stop(self, seconds: float) -> None:
        """Begin no step any more, and wait for those that are running."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (step := self._next()) is not None:
            try:
                again = step()
            except Exception:  # noqa: BLE001  # one transaction's trouble is not the others'
                _log.exception("a step of storage commitment failed")
                again = None
            if again is not None:
                self.add(step, again)

    def _next(self) -> Step | None:
        with self._changed:
            while not self._stopping:
                wait = self._queue[0][0] - time.monotonic() if self._queue else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._queue)[2]
                self._changed.wait(wait)
            return None


class Work(Protocol):
    """A transaction on its way to its SCU."""

    def judge(self) -> float | None:
        """Go on with the check; None at its end, else after how many seconds to go on."""
        ...

    def report(self) -> float | None:
        """Try to report the result; None if there is nothing to do any more, else when to retry."""
        ...

    def end(self) -> None:
        """Take notice that nothing more is done."""
        ...


class Stages:
    """Judges and then reports, on threads for the one and for the other.

    An SCU that is dead or slow holds up a thread for seconds; what is read from
    the archive must not wait for it.

    Parameters
    ----------
    name
        Of the threads.
    judging, reporting
        How many of them.
    """

    def __init__(self, name: str, judging: int, reporting: int) -> None:
        self._judging = Steps(f"{name}-judge", judging)
        self._reporting = Steps(f"{name}-report", reporting)

    def add(self, work: Work) -> None:
        """Begin with some work."""
        self._judging.add(partial(self._judge, work))

    def stop(self, seconds: float) -> None:
        """Begin nothing any more, and wait for what is under way."""
        deadline = time.monotonic() + seconds
        self._judging.stop(0)
        for steps in (self._reporting, self._judging):
            steps.stop(max(0.0, deadline - time.monotonic()))

    def _judge(self, work: Work) -> float | None:
        try:
            again = work.judge()
        except BaseException:
            work.end()
            raise
        if again is None:
            self._reporting.add(partial(self._report, work))
        return again

    def _report(self, work: Work) -> float | None:
        again: float | None = None
        try:
            again = work.report()
        finally:
            if again is None:
                work.end()
        return again


class Judging:
    """The check of one transaction, as far as this process has come with it."""

    _BACKOFF: Final = (1.0, 60.0)

    def __init__(self, checker: Checker, outcomes: Outcomes) -> None:
        self._checker = checker
        self._outcomes = outcomes
        self._progress: Progress | None = None
        self._of = ""
        self._backoff = Backoff(*self._BACKOFF)

    def step(self, held: Held, commitment: Commitment) -> float | None:
        """Go on; None when the result is written down, else when to look again."""
        if self._progress is None or self._of != commitment.id:
            self._progress, self._of = Progress.start(commitment), commitment.id
        try:
            seconds = self._checker.look(commitment, self._progress)
            if not self._progress.is_finished:
                self._backoff.reset()
                return seconds
            failures = self._progress.failures
            held.decide(commitment, failures)
        except (PacslessError, OSError) as error:
            if self._backoff.is_fresh:
                _log.warning(
                    "storage commitment waits until the instances can be checked",
                    extra={"fields": fields_of(commitment)},
                    exc_info=error,
                )
            return self._backoff.pause()
        self._progress = None
        self._outcomes.add("failed" if failures else "committed")
        _log.info(
            "storage commitment judged",
            extra={
                "fields": {
                    **fields_of(commitment),
                    "committed": len(commitment.references) - len(failures),
                    "failed": len(failures),
                }
            },
        )
        return None

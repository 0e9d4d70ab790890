"""Ending this process when something takes too long, whatever it does.

A decoder that loops in C may hold the interpreter's lock, so only a thread that needs none
can end it: faulthandler's. To start and stop that thread takes as long as to draw a small
picture. So it stays armed when something has ended in time, and a thread of Python, which
runs unless the interpreter hangs, moves it on, half of its time before it would strike.
"""

from __future__ import annotations

import faulthandler
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_SHORTEST: Final = 0.1
"""Seconds: what is late by now is ended by then."""


def _arm(seconds: float) -> None:
    faulthandler.dump_traceback_later(seconds, exit=True)


class Watchdog:
    """Watches over what has a deadline.

    Parameters
    ----------
    arm, disarm
        End the process in so many seconds, in place of what was armed before; do not.
    clock
        Seconds.
    """

    def __init__(
        self,
        arm: Callable[[float], None] = _arm,
        disarm: Callable[[], None] = faulthandler.cancel_dump_traceback_later,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._arm, self._disarm, self._clock = arm, disarm, clock
        self._changed = threading.Condition()
        self._deadlines: list[float] = []
        self._strikes: float | None = None
        self._keeper: threading.Thread | None = None

    @contextmanager
    def over(self, seconds: float) -> Iterator[None]:
        """Watch over what happens in the context; the process ends if it takes longer."""
        deadline = self._clock() + seconds
        with self._changed:
            self._deadlines.append(deadline)
            if self._strikes is None or deadline < self._strikes:
                self._strike_at(deadline)
        try:
            yield
        finally:
            with self._changed:
                self._deadlines.remove(deadline)

    def look(self) -> None:
        """Move the strike to the first deadline there is, or call it off if there is none."""
        with self._changed:
            first = min(self._deadlines, default=None)
            if first is None:
                self._strikes = None
                self._disarm()
            elif first != self._strikes:
                self._strike_at(first)

    def _strike_at(self, deadline: float) -> None:
        self._strikes = deadline
        self._arm(max(_SHORTEST, deadline - self._clock()))
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="watchdog", daemon=True)
            self._keeper.start()
        self._changed.notify()

    def _keep(self) -> None:
        with self._changed:
            while True:
                wait = None
                if self._strikes is not None:
                    wait = max(_SHORTEST, (self._strikes - self._clock()) / 2)
                if not self._changed.wait(wait):
                    self.look()

"""How far a sweep has come, for whoever waits for it."""

from __future__ import annotations

import time
from typing import Final, TextIO

_TERMINAL_SECONDS: Final = 0.2
_LOG_SECONDS: Final = 10.0


class Progress:
    """A line that is renewed on a terminal, and a line now and then elsewhere.

    Parameters
    ----------
    stream
        Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._began = time.monotonic()
        self._first: int | None = None
        self._told = self._began
        self._shown = False

    def say(self, done: int, total: int, what: str, instances: int) -> None:
        """Tell how much is done, at what rate, and how long the rest will take."""
        seconds = time.monotonic() - self._began
        if self._first is None:
            self._first = max(done - 1, 0)  # what an earlier run did says nothing of the rate
        line = f"{done}/{total} {what}"
        if instances:
            line += f", {instances} instances, {instances / max(seconds, 1e-9):.0f}/s"
        if (mine := done - self._first) > 0 and total > done:
            line += f", {_duration(seconds / mine * (total - done))} left"
        self.tell(line)

    def tell(self, line: str) -> None:
        """Tell a line, unless one was told a moment ago."""
        now = time.monotonic()
        if now - self._told < (_TERMINAL_SECONDS if self._is_terminal else _LOG_SECONDS):
            return
        self._told = now
        self._shown = True
        if self._is_terminal:
            self._stream.write(f"\r\x1b[K{line}")
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the terminal's line."""
        if self._shown and self._is_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"

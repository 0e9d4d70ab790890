"""How many workers each function has, as a command of the operator's tells it."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Collection, Sequence
from typing import IO, Final

from pacsless.errors import Unavailable

_SECONDS: Final = 30.0
_NOBODY: Final = "<none>"
"""What kubectl prints for a number that is not there: no replica is ready."""


def read_counts(text: str, functions: Collection[str]) -> dict[str, int]:
    r"""Read lines of a deployment's name and a number; those of no function are left out.

    Parameters
    ----------
    text
        What the command printed.
    functions
        Names there are. A deployment is a function's if its name is, or ends
        in, the function's in kebab-case.

    Raises
    ------
    Unavailable
        If no line is about a function, or a number is none.

    Examples
    --------
    >>> read_counts("x-load-doris 2\nx-nginx 1\nx-transcode <none>", ["load_doris", "transcode"])
    {'load_doris': 2, 'transcode': 0}
    """
    kebab = {name.replace("_", "-"): name for name in functions}
    counts: dict[str, int] = {}
    for line in text.splitlines():
        name, _, number = line.strip().partition(" ")
        found = [one for one in kebab if f"-{name}".endswith(f"-{one}")]
        if not found:
            continue
        number = number.strip() or _NOBODY
        if number != _NOBODY and not (number.isascii() and number.isdigit()):
            raise Unavailable("workers", f"--workers-command gives no number for {name[:80]}")
        function = kebab[max(found, key=len)]
        counts[function] = counts.get(function, 0) + (0 if number == _NOBODY else int(number))
    if not counts:
        raise Unavailable("workers", "--workers-command prints no line 'FUNCTION NUMBER'")
    return counts


class WorkersCommand:
    """Runs the command beside everything else: who looks is told what it said last.

    Parameters
    ----------
    command
        Program and arguments; no shell is between.
    functions
        See `read_counts`.
    """

    def __init__(self, command: Sequence[str], functions: Collection[str]) -> None:
        self._command, self._functions = list(command), functions
        self._running: tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes], float] | None = None
        self._last: dict[str, int] | None = None

    def look(self) -> dict[str, int] | None:
        """Return what is known, and have the command run for the next look.

        Raises
        ------
        Unavailable
            If it cannot be run, fails, or takes too long.
        """
        try:
            self._collect()
        finally:
            if self._running is None:
                self._start()
        return self._last

    def close(self) -> None:
        """End the command if it still runs."""
        if self._running is not None:
            process, out, err, _ = self._running
            self._running = None
            process.kill()
            process.wait()
            out.close()
            err.close()

    def _start(self) -> None:
        # Files: nobody would empty a pipe.
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        try:
            process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        except OSError as error:
            out.close()
            err.close()
            raise Unavailable(
                "workers", f"--workers-command cannot be run: {error.strerror}"
            ) from None
        self._running = process, out, err, time.monotonic()

    def _collect(self) -> None:
        if self._running is None:
            return
        process, out, err, began = self._running
        if process.poll() is None:
            if time.monotonic() - began > _SECONDS:
                self.close()
                self._last = None
                raise Unavailable("workers", f"--workers-command takes more than {_SECONDS:g} s")
            return
        self._running = None
        self._last = None
        with out, err:
            out.seek(0)
            err.seek(0)
            if process.returncode:
                told = err.read(200).decode("utf-8", "replace").partition("\n")[0]
                raise Unavailable(
                    "workers", f"--workers-command ends with {process.returncode}: {told}"
                )
            self._last = read_counts(out.read().decode("utf-8", "replace"), self._functions)

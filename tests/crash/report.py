"""What a part of the harness reports."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from tests.crash.checks import Violations


@dataclass(slots=True)
class Report:
    """What was done, and what went wrong."""

    part: str
    figures: dict[str, Any] = field(default_factory=dict)
    violations: Violations = field(default_factory=Violations)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure how long it takes."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds = time.monotonic() - started

    def progress(self, text: str) -> None:
        """Tell a person who waits."""
        count = self.violations.kinds.total()
        print(f"[{self.part}] {text}; violations {count}", file=sys.stderr, flush=True)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "part": self.part,
            **self.figures,
            "violations": self.violations.kinds.total(),
            "kinds": dict(self.violations.kinds),
            "shown": self.violations.shown,
            "notes": self.notes,
            "seconds": round(self.seconds, 1),
        }

    def __str__(self) -> str:
        done = ", ".join(f"{name} {value}" for name, value in self.figures.items())
        count = self.violations.kinds.total()
        lines = [f"{self.part}: {done}; violations {count}; {self.seconds:.0f} s"]
        lines += [f"  {one}" for one in (*self.notes, *self.violations.shown)]
        lines += [f"  {kind}: {count} in all" for kind, count in self.violations.kinds.items()]
        return "\n".join(lines)


def run(main: click.Command) -> int:
    """Run a harness; a failure of its own must not look like one of what it tests."""
    try:
        main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
    except (click.Abort, Exception):  # noqa: BLE001  # a person, or whatever it may be
        traceback.print_exc()
    else:
        return 0  # --help
    return 2

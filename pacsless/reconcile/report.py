"""What a reconcile found: pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pacsless.reconcile.study import Drift

_EXAMPLES: Final = 5


@dataclass(slots=True)
class Found:
    """Drift of one kind."""

    count: int = 0
    mended: int = 0
    """Announced, so that the functions do it again."""
    examples: list[str] = field(default_factory=list)
    """Paths of UIDs, at most five."""


@dataclass(slots=True)
class Report:
    """What was found of one tenant."""

    tenant: str
    studies: int = 0
    """Looked at in this run."""
    scrubbed: int = 0
    """Files read again in this run."""
    finished: bool = False
    """Whether every study was looked at; else the next run goes on."""
    drift: dict[str, Found] = field(default_factory=dict)
    """By kind."""

    @property
    def left(self) -> int:
        """How much drift is not mended."""
        return sum(one.count - one.mended for one in self.drift.values())

    def add(self, study: str, drifts: Iterable[Drift], mended: frozenset[Drift]) -> None:
        """Count what was found of a study."""
        for one in drifts:
            found = self.drift.setdefault(one.kind.value, Found())
            found.count += 1
            found.mended += one in mended
            if len(found.examples) < _EXAMPLES:
                found.examples.append(subject(study, one))

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self) | {"left": self.left}


def subject(study: str, drift: Drift) -> str:
    """Path of what has drifted: UIDs only, as a stray file's key may hold a patient's name.

    Examples
    --------
    >>> from pacsless.reconcile.study import Kind
    >>> subject("1.2", Drift(Kind.OTHER_SIZE, "1.3", "1.4"))
    'studies/1.2/series/1.3/instances/1.4'
    """
    path = f"studies/{study}"
    if drift.series:
        path += f"/series/{drift.series}"
    if drift.sop:
        path += f"/instances/{drift.sop}"
    return path

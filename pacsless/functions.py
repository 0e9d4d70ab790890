"""The functions there are, as each declares itself in its pyproject.toml.

::

    [tool.pacsless]
    kind = "event"                    # or "http", or "timer"
    handles = ["org.pacsless.instance.stored.v1"]
    emits = ["org.pacsless.instance.indexed.v1"]
    reads = "originals"               # for the table of functions
    writes = "PostgreSQL"

    schedule = "*/10 * * * *"         # kind "timer" only; see `pacsless.schedule`

    [tool.pacsless.trigger]           # kind "event" only; see `TriggerPolicy`
    max_events = 100
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pacsless.errors import PacslessError
from pacsless.events import EVENTS
from pacsless.schedule import Schedule

Kind = Literal["event", "http", "timer"]
Gather = Literal["partition", "topic"]

TIMEOUT_HEADER: Final = "X-Pacsless-Timeout"
"""Header of a request to a function: how many seconds the sender waits for the answer."""

FUNCTIONS_FOLDER: Final = Path(__file__).resolve().parents[1] / "functions"
"""The functions of this clone or image."""


class InvalidDeclaration(PacslessError):
    """A function's pyproject.toml declares what cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerPolicy:
    """How the trigger feeds a function."""

    max_events: int = 100
    """Most events of a batch."""
    max_bytes: int = 1 << 20
    """Most bytes of a batch of more than one event."""
    linger_ms: int = 20
    """How long a batch that is not full waits for more."""
    gather: Gather = "partition"
    """What a lane is: one partition, or all of a topic's that this trigger holds."""
    concurrency: int = 4
    """Most batches in flight, each of another lane."""
    attempts: int = 3
    """Failures (crash, 500, no answer in time) until a batch is halved and a single
    event becomes a dead letter."""
    timeout_s: float = 120.0
    """How long to wait for the function's answer."""
    backoff_s: float = 0.5
    """Pause after the first failure; doubles with each."""
    backoff_max_s: float = 15.0
    """Longest pause."""
    rest: float = 0.0
    """How many times as long as a batch took a lane waits for more before the next: for a
    function whose work is saved by being done less often. 15 s at most."""

    def __post_init__(self) -> None:
        positive = (self.max_events, self.max_bytes, self.concurrency, self.attempts)
        waits = (self.linger_ms, self.rest)
        if min(positive) < 1 or min(waits) < 0 or self.gather not in get_args(Gather):
            raise InvalidDeclaration(
                "trigger", "numbers are positive, gather is partition or topic"
            )
        if not 0 < self.backoff_s <= self.backoff_max_s or self.timeout_s <= 0:
            raise InvalidDeclaration("trigger", "0 < backoff_s <= backoff_max_s, 0 < timeout_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """A function's declaration."""

    name: str
    """Folder, handler and target."""
    summary: str
    """The project's description."""
    kind: Kind
    handles: tuple[str, ...]
    """Event types it takes."""
    emits: tuple[str, ...]
    """Event types it sends."""
    reads: str
    writes: str
    trigger: TriggerPolicy | None
    """None unless it is of kind ``event``."""
    schedule: Schedule | None = None
    """None unless it is of kind ``timer``."""

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics of the events it takes."""
        return _topics(self.handles)

    @property
    def emitted_topics(self) -> tuple[str, ...]:
        """Topics of the events it sends."""
        return _topics(self.emits)


def _topics(types: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(EVENTS[one].TOPIC for one in types))


def load_functions(root: Path = FUNCTIONS_FOLDER) -> dict[str, FunctionSpec]:
    """Read every function's declaration.

    Parameters
    ----------
    root
        Folder with one folder per function.

    Returns
    -------
    dict
        Name to declaration, sorted by name.

    Raises
    ------
    InvalidDeclaration
        If one is not as the module describes.
    """
    return {
        file.parent.name: _read(file.parent.name, tomllib.loads(file.read_text()))
        for file in sorted(root.glob("*/pyproject.toml"))
    }


def _read(name: str, document: dict[str, Any]) -> FunctionSpec:
    try:
        project, declared = document["project"], dict(document["tool"]["pacsless"])
        kind = declared["kind"]
        handles, emits = (tuple(declared.get(key, ())) for key in ("handles", "emits"))
        unknown = [one for one in (*handles, *emits) if one not in EVENTS]
        if project["name"].replace("-", "_") != name:
            raise InvalidDeclaration("name", f"{name}: the project must be named like its folder")
        if unknown or kind not in get_args(Kind) or (kind == "event") != bool(handles):
            raise InvalidDeclaration(
                "declaration", f"{name}: an unknown kind or type, or no handles for kind event"
            )
        if (kind == "timer") != ("schedule" in declared):
            raise InvalidDeclaration(
                "declaration", f"{name}: a schedule is what kind timer has, and no other kind"
            )
        return FunctionSpec(
            name=name,
            summary=project["description"],
            kind=kind,
            handles=handles,
            emits=emits,
            reads=declared.get("reads", ""),
            writes=declared.get("writes", ""),
            trigger=_policy(name, declared.get("trigger", {})) if kind == "event" else None,
            schedule=Schedule.parse(declared["schedule"]) if kind == "timer" else None,
        )
    except KeyError as error:
        raise InvalidDeclaration("declaration", f"{name}: pyproject.toml lacks {error}") from None


def _policy(name: str, declared: dict[str, Any]) -> TriggerPolicy:
    unknown = set(declared) - {one.name for one in fields(TriggerPolicy)}
    if unknown:
        raise InvalidDeclaration(
            "trigger", f"{name}: no such setting: {', '.join(sorted(unknown))}"
        )
    return TriggerPolicy(**declared)

"""How a function's events are handed out and its workers scaled, and where that is said.

A function's pyproject.toml says what suits it, below ``[tool.pacsless.trigger]`` and
``[tool.pacsless.scale]``. An operator says otherwise in one file, which
``PACSLESS_POLICIES`` names, in the same tables below the function's name::

    [load_doris.trigger]
    linger_ms = 500

    [load_doris.trigger.topics.access_log_queue]     # of this topic alone
    linger_ms = 5000

    [extract_tags.scale]
    max_workers = 4
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

from pacsless.errors import PacslessError

Gather = Literal["partition", "topic"]

_KINDS: Final = {"int": (int,), "float": (float, int), "Gather": (str,)}
_NOUNS: Final = {"int": "a whole number", "float": "a number", "Gather": "partition or topic"}
# One pool hands out the batches of all topics, and one worker waits for any.
_OF_THE_FUNCTION: Final = frozenset({"concurrency", "timeout_s"})


class InvalidPolicy(PacslessError):
    """A policy says what cannot be."""


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
            raise InvalidPolicy("trigger", "numbers are positive, gather is partition or topic")
        if not 0 < self.backoff_s <= self.backoff_max_s or self.timeout_s <= 0:
            raise InvalidPolicy("trigger", "0 < backoff_s <= backoff_max_s, 0 < timeout_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePolicy:
    """How many workers a function has: as KEDA counts, ceil(lag / lag_threshold)."""

    min_workers: int = 0
    """Fewest; 0 lets go of the last when all is done."""
    max_workers: int = 2
    """Most. More than the trigger's concurrency have nothing to do."""
    lag_threshold: int = 100
    """Events not handled yet for which one worker is enough."""
    cooldown_s: float = 60.0
    """How long a worker is kept that would not be started now."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_workers <= self.max_workers or self.max_workers < 1:
            raise InvalidPolicy("scale", "0 <= min_workers <= max_workers, 1 <= max_workers")
        if self.lag_threshold < 1 or self.cooldown_s < 0:
            raise InvalidPolicy("scale", "1 <= lag_threshold, 0 <= cooldown_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """All that is said of one function."""

    trigger: TriggerPolicy
    topics: Mapping[str, TriggerPolicy]
    """Of topics that differ."""
    scale: ScalePolicy

    def of(self, topic: str) -> TriggerPolicy:
        """Return how events of a topic are handed out."""
        return self.topics.get(topic, self.trigger)


P = TypeVar("P", TriggerPolicy, ScalePolicy)


def load_overrides(file: Path, functions: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read what an operator wants otherwise.

    Parameters
    ----------
    file
        TOML, as the module describes.
    functions
        Names it may hold.

    Returns
    -------
    dict
        Function to its tables, which `policies` reads.

    Raises
    ------
    InvalidPolicy
        If the file cannot be read or holds something else.
    """
    try:
        document = tomllib.loads(file.read_text())
    except OSError as error:
        raise InvalidPolicy("policies", f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidPolicy("policies", f"{file}: is no TOML: {error}") from None
    known = sorted(functions)
    for name, tables in document.items():
        if name not in known:
            there = ", ".join(known)
            raise InvalidPolicy(
                "policies", f"{file}: no function {name} takes events; there are {there}"
            )
        if not isinstance(tables, dict) or set(tables) - {"trigger", "scale"}:
            raise InvalidPolicy(
                "policies", f"{file}: [{name}] holds the tables trigger and scale alone"
            )
    return document


def policies(
    name: str, topics: Iterable[str], declared: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Policies:
    """Make a function's policies of what it declares and what an operator wants otherwise.

    Raises
    ------
    InvalidPolicy
        If a setting is unknown or has a value it cannot have; the text says where.
    """
    trigger, per_topic = dict[str, Any](), dict[str, dict[str, Any]]()
    scale = dict[str, Any]()
    for tables in (declared, wanted):
        table = _table(f"{name}.trigger", tables.get("trigger", {}))
        for topic, own in _table(f"{name}.trigger.topics", table.pop("topics", {})).items():
            where = f"{name}.trigger.topics.{topic}"
            if topic not in topics:
                raise InvalidPolicy("trigger", f"[{where}]: {name} does not read this topic")
            per_topic[topic] = per_topic.get(topic, {}) | _table(where, own)
            for setting in _OF_THE_FUNCTION & set(per_topic[topic]):
                raise InvalidPolicy("trigger", f"[{where}] {setting}: is the whole function's")
        trigger |= table
        scale |= _table(f"{name}.scale", tables.get("scale", {}))
    base = read(TriggerPolicy, f"{name}.trigger", trigger)
    return Policies(
        trigger=base,
        topics={
            topic: read(TriggerPolicy, f"{name}.trigger.topics.{topic}", asdict(base) | own)
            for topic, own in per_topic.items()
        },
        scale=read(ScalePolicy, f"{name}.scale", scale),
    )


def read(kind: type[P], where: str, values: Mapping[str, Any]) -> P:
    """Check names and types, and build a policy.

    Raises
    ------
    InvalidPolicy
        If one is wrong; the text says where and which.
    """
    known = {one.name: str(one.type) for one in fields(kind)}
    for setting, value in values.items():
        if setting not in known:
            there = ", ".join(known)
            raise InvalidPolicy(
                "policy", f"[{where}] {setting}: no such setting; there are {there}"
            )
        expected = known[setting]
        if not isinstance(value, _KINDS[expected]) or isinstance(value, bool):
            raise InvalidPolicy("policy", f"[{where}] {setting}: must be {_NOUNS[expected]}")
    try:
        return kind(**values)
    except InvalidPolicy as error:
        raise InvalidPolicy(error.code, f"[{where}]: {error.message}") from None


def _table(where: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise InvalidPolicy("policy", f"{where} must be a table")
    return dict(found)

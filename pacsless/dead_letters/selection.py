"""Which dead letters are meant, and what they come to: no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pacsless.bus import Reference
from pacsless.dead_letters.letter import Letter, iso
from pacsless.events import DEAD_LETTER_SUFFIX, TOPICS, dead_letter_topic

_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Conditions a letter must all meet; of several values of one, any will do."""

    letters: frozenset[Reference] = frozenset()
    topics: frozenset[str] = frozenset()
    """Of the events."""
    codes: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    """Exclusive."""

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self))

    def __contains__(self, letter: Letter) -> bool:
        return (
            (not self.letters or letter.reference in self.letters)
            and (not self.topics or letter.topic in self.topics)
            and (not self.codes or letter.code in self.codes)
            and (not self.functions or letter.function in self.functions)
            and (not self.tenants or letter.tenant in self.tenants)
            and (self.since is None or letter.time >= self.since)
            and (self.until is None or letter.time < self.until)
        )

    @property
    def read_from(self) -> frozenset[str]:
        """Topics, of events, whose letters need to be read."""
        named = {one.partition.topic.removesuffix(DEAD_LETTER_SUFFIX) for one in self.letters}
        return frozenset(TOPICS) & (self.topics or set(TOPICS)) & (named or set(TOPICS))


@dataclass(slots=True)
class Group:
    """Letters of a topic with the same code, of the same function."""

    topic: str
    function: str
    code: str
    count: int
    oldest: datetime
    newest: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "topic": self.topic,
            "function": self.function,
            "code": self.code,
            "count": self.count,
            "oldest": iso(self.oldest),
            "newest": iso(self.newest),
        }


@dataclass(slots=True)
class Summary:
    """What was counted so far."""

    _groups: dict[tuple[str, str, str], Group] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many letters."""
        return sum(one.count for one in self._groups.values())

    @property
    def groups(self) -> list[Group]:
        """In the order of topic, function and code."""
        return [self._groups[key] for key in sorted(self._groups)]

    def add(self, letters: Iterable[Letter]) -> None:
        """Count these, too."""
        for one in letters:
            key, time = (one.topic, one.function, one.code), one.time
            group = self._groups.setdefault(key, Group(*key, 0, time, time))
            group.count += 1
            group.oldest, group.newest = min(group.oldest, time), max(group.newest, time)


def parse_letter(text: str) -> Reference:
    """Read ``storage_queue.dlq:0:17``, with or without ``.dlq``.

    Raises
    ------
    ValueError
        If that is no place of a dead letter.
    """
    found = Reference.parse(text)
    topic = found.partition.topic.removesuffix(DEAD_LETTER_SUFFIX)
    if topic not in TOPICS:
        raise ValueError(f"there is no topic {topic}")
    return Reference(found.partition._replace(topic=dead_letter_topic(topic)), found.offset)


def parse_time(text: str, now: datetime) -> datetime:
    """Read an ISO 8601 time, UTC unless it says otherwise, or how long ago: ``90m``, ``2d``.

    Raises
    ------
    ValueError
        If it is neither.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)

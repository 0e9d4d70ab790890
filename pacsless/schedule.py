"""When a function on a timer runs: cron's five fields, as a CronJob and a PingSource take them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from pacsless.errors import PacslessError

_FIELDS: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 6),
)
_YEARS: Final = 8
"""From one 29 February to the next, at most."""


class InvalidSchedule(PacslessError):
    """It says no time."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Minutes in UTC, as `Schedule.parse` reads them from five fields.

    Examples
    --------
    >>> every = Schedule.parse("*/10 * * * *")
    >>> every.after(datetime(2026, 11, 28, 23, 55, tzinfo=UTC)).isoformat()
    '2026-11-29T00:00:00+00:00'
    """

    text: str
    _values: tuple[frozenset[int], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read numbers, ranges, lists and steps: ``*/10 6-18 * * 1,3``.

        Raises
        ------
        InvalidSchedule
            If a field is none of those, or the times never come.
        """
        fields = text.split()
        if len(fields) != len(_FIELDS):
            raise InvalidSchedule("schedule", "a schedule has five fields: */10 * * * *")
        found = cls(text, tuple(map(_field, fields, *zip(*_FIELDS, strict=True))))
        found.after(datetime.now(UTC))
        return found

    def __str__(self) -> str:
        return self.text

    def after(self, moment: datetime) -> datetime:
        """Return the first time after a moment.

        Raises
        ------
        InvalidSchedule
            If there is none, as of 30 February.
        """
        found = moment.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        last = found.year + _YEARS
        while found.year <= last:
            if found.month not in self._values[3] or not self._is_day(found):
                found = found.replace(hour=0, minute=0) + timedelta(days=1)
            elif found.hour not in self._values[1]:
                found = found.replace(minute=0) + timedelta(hours=1)
            elif found.minute not in self._values[0]:
                found += timedelta(minutes=1)
            else:
                return found
        raise InvalidSchedule("schedule", "the schedule names a day that never comes")

    def _is_day(self, moment: datetime) -> bool:
        # cron(5): where both days are restricted, either will do.
        of_month = moment.day in self._values[2]
        of_week = moment.isoweekday() % 7 in self._values[4]
        _, _, month_day, _, week_day = self.text.split()
        if month_day.startswith("*") or week_day.startswith("*"):
            return of_month and of_week
        return of_month or of_week


def _field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        numbers = (first, last if dash else first, step or "1")
        if not all(one.isascii() and one.isdecimal() for one in numbers):
            raise InvalidSchedule("schedule", f"the {name} of a schedule is not numbers: * */n a-b")
        start, end, by = map(int, numbers)
        if not low <= start <= end <= high or by < 1:
            raise InvalidSchedule("schedule", f"the {name} of a schedule is {low} to {high}")
        found |= set(range(start, end + 1, by))
    return frozenset(found)

"""Dates and times as SQL conditions: pure.

A date and its time of which both are the same form of range are one moment
(combined datetime matching, PS3.4 §C.2.2.2.5), else each is compared for itself.
Timezone Offset From UTC in the query says which timezone its dates and times
are of; those of a study that states another one are moved there before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from functions.qido_rs.attributes import Kind

if TYPE_CHECKING:
    from functions.qido_rs.values import Match
    from pacsless.statement import Statement


def instants(matches: Sequence[Match], timezone: int | None, statement: Statement) -> list[str]:
    """Conditions of all matches of kind DATE and TIME.

    Parameters
    ----------
    matches
        Of these kinds only.
    timezone
        Minutes from UTC that the query is meant in, None if it does not say.
    statement
        Where the values are bound.
    """
    found = []
    times = [one for one in matches if one.key.kind is Kind.TIME]
    for date in (one for one in matches if one.key.kind is Kind.DATE):
        time = next((one for one in times if _one_moment(date, one)), None)
        if time:
            times.remove(time)
            found.append(_combined(date, time, timezone, statement))
        else:
            found.append(_alone(date, timezone, statement))
    return found + [_alone(one, timezone, statement) for one in times]


def _one_moment(date: Match, time: Match) -> bool:
    return bool(date.form) and time.form == date.form and time.key.column == _other(date)


def _combined(date: Match, time: Match, timezone: int | None, statement: Statement) -> str:
    day, clock = _local(date, timezone, statement), _local(time, timezone, statement)
    parts = [_near(date, timezone, statement)]
    for past, bound, day_value, time_value in (
        (">", ">=", date.low, time.low),
        ("<", "<=", date.high, time.high),
    ):
        if day_value:
            value = f"CAST({statement.bind(day_value)} AS date)"
            parts.append(f"{day} {bound} {value}")
            parts.append(f"({day} {past} {value} OR {clock} {bound} {statement.bind(time_value)})")
    return f"({' AND '.join(filter(None, parts))})"


def _alone(match: Match, timezone: int | None, statement: Statement) -> str:
    if match.empty:
        # A value that is no date is one, though the column has none.
        table = match.key.column.partition(".")[0]
        stated = f"{table}.attributes #>> '{{{match.key.tag},Value,0}}'"
        return f"({match.key.column} IS NULL AND COALESCE({stated}, '') = '')"
    kind = "date" if match.key.kind is Kind.DATE else "text"
    compared = between(_local(match, timezone, statement), match, statement, kind)
    near = _near(match, timezone, statement) if kind == "date" else ""
    return f"({near} AND {compared})" if near else compared


def between(expression: str, match: Match, statement: Statement, kind: str) -> str:
    """Compare with both ends that are stated."""
    parts = [
        f"{expression} {operator} CAST({statement.bind(value)} AS {kind})"
        for operator, value in ((">=", match.low), ("<=", match.high))
        if value
    ]
    return f"({' AND '.join(parts)})"


def _near(date: Match, timezone: int | None, statement: Statement) -> str:
    """What an index finds: another timezone is a day away at most."""
    if timezone is None or not _has_time(date):
        return ""
    return " AND ".join(
        f"{date.key.column} {operator} CAST({statement.bind(value)} AS date) {day}"
        for operator, value, day in ((">=", date.low, "- 1"), ("<=", date.high, "+ 1"))
        if value
    )


def _local(match: Match, timezone: int | None, statement: Statement) -> str:
    """A date or a time of day as it is in the timezone of the query."""
    column = match.key.column
    if timezone is None or not _has_time(match):
        return column
    day, clock = (column, _other(match))[:: 1 if match.key.kind is Kind.DATE else -1]
    table = column.partition(".")[0]
    moment = (
        f"({day} + CAST({clock} AS time) + make_interval(mins => CAST("
        f"{statement.bind(timezone)} AS integer) - utc_offset({table}.attributes)))"
    )
    moved = (
        f"CAST({moment} AS date)"
        if match.key.kind is Kind.DATE
        else f"to_char({moment}, 'HH24MISS.US')"
    )
    return f"COALESCE({moved}, {column})"


def _has_time(match: Match) -> bool:
    return match.key.keyword != "PatientBirthDate"  # nobody asks in which timezone


def _other(match: Match) -> str:
    """Column of the time that belongs to a date, or the other way round."""
    column = match.key.column
    if column.endswith("_date"):
        return f"{column.removesuffix('_date')}_time"
    return f"{column.removesuffix('_time')}_date"

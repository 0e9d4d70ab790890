"""Moments as events, logs and tables state them; pure."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_time(moment: datetime) -> str:
    """Return a moment in UTC, to the microsecond.

    Examples
    --------
    >>> iso_time(datetime.fromisoformat("2026-11-23T09:00+01:00"))
    '2026-11-23T08:00:00.000000Z'
    """
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")

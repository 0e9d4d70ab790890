from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pacsless.schedule import InvalidSchedule, Schedule


def after(text: str, moment: str) -> str:
    found = Schedule.parse(text).after(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    return found.strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("text", "moment", "expected"),
    [
        ("* * * * *", "2026-11-28 10:00:59", "2026-11-28 10:01"),
        ("*/10 * * * *", "2026-11-28 10:10", "2026-11-28 10:20"),
        ("*/10 * * * *", "2026-12-31 23:51", "2027-01-01 00:00"),
        ("5,35 8-9 * * *", "2026-11-28 09:36", "2026-11-29 08:05"),
        ("0 3 1 * *", "2026-11-28 10:00", "2026-12-01 03:00"),
        ("0 0 29 2 *", "2026-11-28 10:00", "2028-02-29 00:00"),
        ("0 0 * * 0", "2026-11-28 10:00", "2026-11-29 00:00"),  # a Saturday, then a Sunday
        ("0 0 13 * 1-5", "2026-11-28 10:00", "2026-11-30 00:00"),  # either will do
        ("1-59/20 * * * *", "2026-11-28 10:01", "2026-11-28 10:21"),
    ],
)
def test_the_next_time(text: str, moment: str, expected: str) -> None:
    assert after(text, moment) == expected


def test_a_schedule_is_in_utc() -> None:
    local = datetime(2026, 11, 28, 10, 59, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    found = Schedule.parse("0 * * * *").after(local)
    assert found == datetime(2026, 11, 28, 6, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
        "* * * * 7", "*/0 * * * *", "5-1 * * * *", "a * * * *", "-1 * * * *", "1- * * * *",
        "@daily", "0 0 30 2 *", "٣ * * * *",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidSchedule):
        Schedule.parse(text)

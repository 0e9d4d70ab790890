from __future__ import annotations

import subprocess
import sys

import pytest

from pacsless.watchdog import Watchdog
from tests.eventually import eventually


class Clock:
    """Time as a test sets it, and what was armed at which."""

    def __init__(self) -> None:
        self.now = 0.0
        self.strikes: list[float | None] = []

    def arm(self, seconds: float) -> None:
        self.strikes.append(self.now + seconds)

    def disarm(self) -> None:
        self.strikes.append(None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watchdog(clock: Clock) -> Watchdog:
    return Watchdog(clock.arm, clock.disarm, lambda: clock.now)


def test_what_ends_in_time_arms_it_once(watchdog: Watchdog, clock: Clock) -> None:
    for clock.now in range(20):
        with watchdog.over(60), watchdog.over(60):
            pass
    assert clock.strikes == [60]


def test_an_earlier_deadline_counts_at_once(watchdog: Watchdog, clock: Clock) -> None:
    with watchdog.over(60), watchdog.over(10):
        assert clock.strikes == [60, 10]


def test_it_is_moved_on_to_what_runs(watchdog: Watchdog, clock: Clock) -> None:
    with watchdog.over(60):
        clock.now = 20
    with watchdog.over(60):
        clock.now = 30
        watchdog.look()
        assert clock.strikes == [60, 80]
        watchdog.look()
    assert clock.strikes == [60, 80]


def test_it_is_not_moved_on_for_what_takes_too_long(watchdog: Watchdog, clock: Clock) -> None:
    with watchdog.over(60), watchdog.over(90):
        for clock.now in (30, 45, 59, 61):
            watchdog.look()
    assert clock.strikes == [60]


def test_nothing_strikes_where_nothing_runs(watchdog: Watchdog, clock: Clock) -> None:
    with watchdog.over(60):
        pass
    watchdog.look()
    assert clock.strikes == [60, None]
    with watchdog.over(60):
        assert clock.strikes == [60, None, 60]


def test_its_own_thread_looks(clock: Clock) -> None:
    watchdog = Watchdog(clock.arm, clock.disarm)
    for _ in range(2):
        clock.strikes.clear()
        with watchdog.over(0.2):
            pass
        eventually(lambda: clock.strikes[-1:] == [None])


def run(program: str) -> int:
    program = f"import re, time\nfrom pacsless.watchdog import Watchdog\n{program}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=240
    ).returncode


def test_what_holds_the_interpreter_is_ended() -> None:
    assert run("with Watchdog().over(1): re.match('(a+)+b', 'a' * 64)") == 1


def test_what_sleeps_is_ended() -> None:
    assert run("with Watchdog().over(1): time.sleep(300)") == 1


def test_who_was_in_time_lives_on() -> None:
    # Five seconds for its thread to look in: this machine may be slow.
    assert run("dog = Watchdog()\nwith dog.over(10): pass\ntime.sleep(11)") == 0

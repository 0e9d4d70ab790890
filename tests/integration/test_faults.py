"""The fault harness's own parts; ``make faults`` is the long run."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from tests.crash.checks import Violations
from tests.faults import load, strikes
from tests.faults.load import TENANTS
from tests.faults.replay import compare


def test_a_seed_says_what_is_sent_and_struck() -> None:
    known = {tenant: [0, 1] for tenant in TENANTS}
    first, again = (
        (load.plan(1, 100, known, chance), strikes.plan(20, chance))
        for chance in (random.Random(7), random.Random(7))
    )
    assert first == again
    default, rival = (set(numbers) - {0, 1} for numbers in first[0].values())
    assert len(default) == len(rival) == 50 and len(default & rival) == 25


def test_a_replay_is_seen_to_change_add_and_take_away() -> None:
    before = {"instance a": {"revision": "1", "sha256": "x"}, "file b": {"sha256": "y"}}
    after = {"instance a": {"revision": "2", "sha256": "x"}, "file c": {"sha256": "y"}}
    violations = Violations()
    compare(before, after, violations)
    assert sorted(violations.shown) == [
        "a replay added: file c",
        "a replay changed instance: instance a: ['revision']",
        "a replay took away: file b",
    ]
    compare(before, before, unchanged := Violations())
    assert not unchanged


def test_a_failure_of_the_harness_is_none_of_the_stack(tmp_path: Path) -> None:
    (tmp_path / "home").touch()  # where it wants a folder
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--folder", str(tmp_path)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and "FileExistsError" in done.stderr

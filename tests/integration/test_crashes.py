"""A short run of the crash harness; ``make crash`` is the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.checks import Topics
from tests.crash.kills import Kills
from tests.crash.points import Points
from tests.crash.processes import CrashGateway
from tests.crash.report import Report
from tests.services import KafkaBroker, require

pytestmark = pytest.mark.kafka
SEED = 11


@pytest.fixture
def topics(kafka: KafkaBroker) -> Iterator[Topics]:
    one = Topics(kafka.servers[0])
    yield one
    one.close()


def all_is_well(report: Report) -> None:
    assert not report.violations, f"\n{report}"
    assert report.figures["instances"] > 0


def test_the_gateway_is_killed_under_load(topics: Topics, tmp_path: Path) -> None:
    gateway = CrashGateway(tmp_path, topics.server)
    all_is_well(Kills("kills", tmp_path, topics, gateway, seed=SEED, senders=4).run(6))


def test_one_receiver_is_killed_and_the_others_go_on(topics: Topics, tmp_path: Path) -> None:
    gateway = CrashGateway(tmp_path, topics.server, receivers=3)
    all_is_well(Kills("receivers", tmp_path, topics, gateway, seed=SEED, senders=4).run(4))


def test_a_receiver_is_killed_between_its_steps(topics: Topics, tmp_path: Path) -> None:
    require("strace")
    gateway = CrashGateway(tmp_path, topics.server, receivers=1)
    all_is_well(Points(tmp_path, topics, gateway, seed=SEED).run(twice=False, most=8))


def harness(kafka: KafkaBroker, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Run it by its command: it keeps its mounts and cgroups to itself."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash", "--json", "--kafka", kafka.servers[0],
         "--seed", str(SEED), *options],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    parts = json.loads(done.stdout)["parts"]
    if not parts:
        pytest.skip(done.stderr)
    return done.returncode, parts


def test_the_power_is_cut(kafka: KafkaBroker) -> None:
    code, (power,) = harness(kafka, "--parts", "power", "--cuts", "3")
    assert (code, power["violations"]) == (0, 0), power
    assert power["instances"] > 0


def test_the_disk_is_full(kafka: KafkaBroker) -> None:
    code, parts = harness(kafka, "--parts", "full")
    assert (code, [one["violations"] for one in parts]) == (0, [0, 0]), parts
    brim, mark = parts
    assert brim["refused"] and mark["refused"] + mark["rejected"]


def test_a_large_object_needs_little_memory(kafka: KafkaBroker) -> None:
    code, (large,) = harness(kafka, "--parts", "large", "--frames", "600", "--memory", "256")
    assert (code, large["violations"]) == (0, 0), large
    assert large["object_mib"] >= 300


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        ("file-fsync", "torn"),
        ("directory-fsync", "absent"),
        ("journal", "not announced after a power cut"),
    ],
)
def test_a_gateway_without_a_step_fails(step: str, wanted: str, kafka: KafkaBroker) -> None:
    # A cut may come just after the file system has made everything durable by itself.
    for _ in range(5):
        # Of one sender, as what others sync would hide what it does not.
        code, (power,) = harness(
            kafka, "--parts", "power", "--cuts", "1", "--senders", "1", "--without", step
        )
        if code == 1 and f"acknowledged, and {wanted}" in power["kinds"]:
            return
    pytest.fail(f"five cuts have shown nothing: {power}")


def test_a_failure_of_the_harness_is_none_of_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "kills").touch()  # where it wants a folder
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash", "--parts", "kills", "--folder", str(tmp_path),
         "--kafka", "127.0.0.1:1"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and "FileExistsError" in done.stderr

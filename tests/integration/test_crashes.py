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
from tests.crash.disks import NoDisks, require_disks
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
    all_is_well(Kills("kills", tmp_path, topics, gateway, seed=SEED, senders=4).run(8))


def test_one_receiver_is_killed_and_the_others_go_on(topics: Topics, tmp_path: Path) -> None:
    gateway = CrashGateway(tmp_path, topics.server, receivers=3)
    all_is_well(Kills("receivers", tmp_path, topics, gateway, seed=SEED, senders=4).run(4))


def test_a_receiver_is_killed_before_and_after_each_step(topics: Topics, tmp_path: Path) -> None:
    require("strace")
    gateway = CrashGateway(tmp_path, topics.server, receivers=1)
    all_is_well(Points(tmp_path, topics, gateway, seed=SEED).run(twice=False))


def harness(kafka: KafkaBroker, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Run it by its command: it needs mounts, and keeps them in a namespace of its own."""
    try:
        require_disks()
    except NoDisks as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash", "--json", "--kafka", kafka.servers[0],
         "--seed", str(SEED), *options],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)["parts"]


def test_the_power_is_cut(kafka: KafkaBroker) -> None:
    code, (power,) = harness(kafka, "--parts", "power", "--cuts", "5")
    assert (code, power["violations"]) == (0, 0), power
    assert power["instances"] > 0


def test_the_disk_is_full(kafka: KafkaBroker) -> None:
    code, parts = harness(kafka, "--parts", "full")
    assert (code, [one["violations"] for one in parts]) == (0, [0, 0]), parts
    brim, mark = parts
    assert brim["refused"] and mark["refused"] + mark["rejected"]


@pytest.mark.parametrize("step", ["directory-fsync", "journal"])
def test_a_gateway_without_a_step_fails(step: str, kafka: KafkaBroker) -> None:
    code, (power,) = harness(kafka, "--parts", "power", "--cuts", "3", "--without", step)
    kinds = {kind for kind in power["kinds"] if kind.startswith("acknowledged, and ")}
    wanted = "absent" if step == "directory-fsync" else "not announced after a power cut"
    assert (code, kinds) == (1, {f"acknowledged, and {wanted}"}), power

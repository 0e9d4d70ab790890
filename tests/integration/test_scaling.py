"""A trigger that runs its function's workers itself, by lag."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pacsless import bus
from tests.eventually import eventually
from tests.services import KafkaBroker
from tests.triggers import FUNCTIONS, TOPIC, Bench, access, by_study, expected

pytestmark = pytest.mark.kafka


@pytest.fixture
def bench(empty_kafka: KafkaBroker, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(empty_kafka, tmp_path, stack)


def descendants(pid: int) -> list[int]:
    """Processes below one: workers, and what gunicorn forked for them."""
    told = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    children = [int(one) for one in told.split()]
    return [*children, *(below for child in children for below in descendants(child))]


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_workers_come_with_a_burst_and_go_after_it(bench: Bench) -> None:
    trigger = bench.scaled()
    eventually(lambda: len(bench.held("trigger")) == 4)
    assert descendants(trigger.pid) == []
    events = bench.publish(*(access(n, "slow" if n % 5 == 0 else "ok") for n in range(120)))
    eventually(lambda: bench.metric("pacsless_trigger_workers{") == 2)
    bench.await_no_lag()
    assert by_study(bench.recorded()) == expected(events)
    eventually(lambda: not descendants(trigger.pid))
    assert bench.metric("pacsless_trigger_workers{") == 0
    eventually(lambda: bench.metric("pacsless_trigger_lag{") == 0)
    assert bench.metric("pacsless_trigger_oldest_seconds{") == 0


def test_a_worker_that_is_killed_in_a_burst_loses_nothing_and_none_outlives_its_trigger(
    bench: Bench,
) -> None:
    trigger = bench.scaled()
    events = bench.publish(*(access(n, "slow" if n % 5 == 0 else "ok") for n in range(120)))
    eventually(lambda: len(bench.recorded()) > 10)
    first, *_ = descendants(trigger.pid)
    os.kill(first, signal.SIGKILL)
    bench.await_no_lag()
    in_order = {
        study: list(dict.fromkeys(ids)) for study, ids in by_study(bench.recorded()).items()
    }
    assert in_order == expected(events)
    assert bus.dead_letter_counts(bench.broker.settings)[TOPIC] == 0
    assert not bench.record.with_suffix(".overlap").exists()
    bench.publish(*(access(n, "slow") for n in range(120, 160)))
    eventually(bench.in_hand)
    left = descendants(trigger.pid)
    assert left
    trigger.kill()
    trigger.wait(40)
    eventually(lambda: not any(map(lives, left)))


def test_a_function_that_does_not_start_costs_no_event(bench: Bench, tmp_path: Path) -> None:
    broken = tmp_path / "functions" / "record_access"
    shutil.copytree(FUNCTIONS / "record_access", broken)
    (broken / "main.py").write_text("raise ImportError('CANARY^NAME')\n")
    bench.scaled(root=broken.parent)
    events = bench.publish(*(access(n) for n in range(12)))
    log = bench.folder / "trigger.log"
    eventually(lambda: '"worker ended"' in log.read_text())
    assert bench.lag() == 12
    shutil.copy(FUNCTIONS / "record_access" / "main.py", broken)
    bench.await_no_lag()
    assert by_study(bench.recorded()) == expected(events)
    assert bus.dead_letter_counts(bench.broker.settings)[TOPIC] == 0

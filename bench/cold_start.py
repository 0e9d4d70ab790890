"""Cold start: from an event on an idle topic, with no worker, to the function handling it.

``python -m bench.cold_start`` starts Kafka and, function by function, a trigger
with ``--scale``; each round publishes one event and waits until no worker is left.
The event is one the function refuses, so that only Kafka need be there.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.gateway import Broker
from bench.receivers import Process
from pacsless.bus import Producer, function_lag
from pacsless.codec import Record
from pacsless.functions import FunctionSpec, load_functions
from pacsless.settings import Settings

_ROUNDS: Final = 5
_PATIENCE: Final = 120.0


def main(wanted: Sequence[str]) -> None:
    """Measure functions on events, all unless some are named, and print a row for each."""
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'function':<16}{'median':>9}{'least':>9}{'of it start':>13}")
    for name, times in cold_starts(wanted):
        whole, start = (sorted(one) for one in zip(*times, strict=True))
        print(
            f"{name:<16}{statistics.median(whole):>7.2f} s{whole[0]:>7.2f} s"
            f"{statistics.median(start):>11.2f} s",
            flush=True,
        )


def cold_starts(
    wanted: Sequence[str] = (), rounds: int = _ROUNDS
) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Measure functions on events, all unless some are named, with a Kafka of its own.

    Yields
    ------
    tuple
        Function, and for each round the seconds until it handled the event and
        those of the worker's start in them.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="pacsless-bench-")))
        broker = Broker(folder / "kafka")
        broker.start()
        stack.callback(broker.stop)
        settings = Settings(kafka=(f"127.0.0.1:{broker.port}",))
        for name, spec in load_functions().items():
            if spec.policies is not None and (not wanted or name in wanted):
                yield name, list(_rounds(spec, settings, folder / f"{name}.log", rounds))


def _rounds(
    spec: FunctionSpec, settings: Settings, log: Path, rounds: int
) -> Iterator[tuple[float, float]]:
    """Seconds until the function handles an event, and of the worker's start in them."""
    trigger = Process(spec.name, log)
    command = [sys.executable, "-m", "pacsless", "trigger", "--function", spec.name]
    environ = {**os.environ, "PACSLESS_KAFKA": settings.kafka[0]}
    producer = Producer(settings, "bench")
    try:
        command += ["--scale", "--cooldown-s", "0"]
        trigger.start(command, lambda: bool(_said(log, "held")), environ)
        for number in range(1, rounds + 1):
            _await(lambda: len(_said(log, "leaves")) == number - 1)  # noqa: B023
            began = time.time()
            _publish(producer, spec)
            _await(lambda: len(_said(log, "leaves")) == number)  # noqa: B023
            handled = next(one for one in _said(log, "batch") if _at(one) > began)
            yield _at(handled) - handled["ms"] / 1000 - began, _said(log, "ready")[-1]["ms"] / 1000
            _await(lambda: not _lag(settings, spec))
    finally:
        producer.close()
        trigger.stop()


def _lag(settings: Settings, spec: FunctionSpec) -> int:
    return sum(function_lag(settings, {spec.name: spec.topics})[spec.name].values())


def _publish(producer: Producer, spec: FunctionSpec) -> None:
    attributes = {"id": "1", "source": "/bench", "specversion": "1.0", "type": spec.handles[0]}
    headers = tuple((f"ce_{name}", value.encode()) for name, value in attributes.items())
    producer.send_records([Record(spec.topics[0], b"bench", b"{}", headers)])


def _said(log: Path, word: str) -> list[dict[str, Any]]:
    lines = log.read_text().splitlines() if log.exists() else []
    told = [json.loads(line) for line in lines if line.startswith("{")]
    return [one for one in told if one["message"].split()[-1] == word]


def _at(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the trigger did not do what it should")
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1:])

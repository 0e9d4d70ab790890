"""Triggers as processes, between a real broker and a real function."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import urllib3

from pacsless import bus
from pacsless.bus import Message, Producer
from pacsless.events import AccessLogged
from tests.eventually import eventually
from tests.ports import free_ports
from tests.services import REPOSITORY, KafkaBroker, running

FUNCTIONS = REPOSITORY / "tests" / "integration" / "functions"
TOPIC = AccessLogged.TOPIC
TRIGGER = """
import json, os, sys
from pathlib import Path
from pacsless import log, trigger
from pacsless.settings import Settings
log.configure("trigger")
pid, root, options = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
Path(pid).write_text(str(os.getpid()))
trigger.run(sys.argv[4], settings=Settings.from_environ(), root=root, **options)
"""


def access(number: int, route: str = "retrieve_instance", studies: int = 5) -> AccessLogged:
    return AccessLogged(
        tenant_id="default", request_id=str(number), accessed_at="2026-11-23T08:00:00.000000Z",
        method="GET", route=route, path="/studies", study_instance_uid=f"1.2.{number % studies}",
        series_instance_uid="", sop_instance_uid="", status=200, bytes_sent=0, duration_ms=1.0,
        remote_address="127.0.0.1", user_agent="CANARY^NAME",
    )  # fmt: skip


class Bench:
    """A broker, a function and its triggers."""

    name, topic, functions = "record_access", TOPIC, FUNCTIONS

    def __init__(self, broker: KafkaBroker, folder: Path, stack: ExitStack) -> None:
        self.broker, self.folder, self._stack = broker, folder, stack
        self.record = folder / "record"
        self.record.touch()
        self._port, self.metrics_port = free_ports(2)
        self.producer = Producer(broker.settings, "test")
        stack.callback(self.producer.close)

    def environ(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PACSLESS_KAFKA": ",".join(self.broker.servers),
            "RECORD": str(self.record),
            **more,
        }

    def function(self) -> None:
        """Start the function, as it is deployed."""
        command = [str(Path(sys.executable).with_name("functions-framework"))]
        environ = self.environ(
            FUNCTION_TARGET=self.name,
            FUNCTION_SOURCE=str(self.functions / self.name / "main.py"),
            HOST="127.0.0.1", PORT=str(self._port), THREADS="4",
        )  # fmt: skip
        self._stack.enter_context(running(command, environ, self.folder / "function.log"))

        def alive() -> bool:
            url = f"http://127.0.0.1:{self._port}/healthz"
            try:
                return urllib3.request("GET", url, retries=False, timeout=1).status == 200
            except urllib3.exceptions.HTTPError:
                return False

        eventually(alive)

    def trigger(
        self, name: str = "trigger", root: Path | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a trigger; its log gets that name."""
        if options.get("instance"):
            # It does not leave the group, which the next test has, too.
            self._stack.callback(self.broker.evict_members, bus.group_id(self.name))
        told = json.dumps({"target": f"http://127.0.0.1:{self._port}/"} | options)
        pid = str(self.record.with_suffix(".trigger"))
        command = [
            sys.executable, "-c", TRIGGER, pid, str(root or self.functions), told, self.name,
        ]  # fmt: skip
        return self._stack.enter_context(
            running(command, self.environ(), self.folder / f"{name}.log")
        )

    def scaled(self, root: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a trigger that runs the function's workers itself."""
        scale = {"lag_threshold": 10, "cooldown_s": 1.0, "max_workers": 2}
        environ = {"target": None, "scale": scale, "metrics_port": self.metrics_port}
        return self.trigger(root=root, **environ)

    def told(self, name: str) -> list[dict[str, Any]]:
        """What a trigger has logged."""
        lines = (self.folder / f"{name}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def holds(self, name: str) -> list[list[str]]:
        """Partitions a trigger has said it holds, each time they changed."""
        return [one["partitions"] for one in self.told(name) if one["message"] == "partitions held"]

    def held(self, name: str) -> list[str]:
        """Partitions a trigger holds."""
        return next(reversed(self.holds(name)), [])

    def in_hand(self) -> bool:
        """Whether the function is at any study."""
        for hand in self.folder.glob("*.hand"):
            with open(hand) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
        return False

    def metric(self, name: str) -> float:
        """Sum of a metric of the trigger over its labels."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        page = urllib3.request("GET", url, retries=False, timeout=5).data.decode()
        lines = [one for one in page.splitlines() if one.startswith(name)]
        assert lines, f"no metric {name}"
        return sum(float(one.rpartition(" ")[2]) for one in lines)

    def publish(self, *events: AccessLogged) -> list[AccessLogged]:
        self.producer.publish(events, "/test")
        return list(events)

    def recorded(self) -> list[tuple[str, str]]:
        """Study and event id of what the function has done, in its order."""
        lines = self.record.read_text().splitlines()
        return [(study, event) for study, event in map(str.split, lines)]

    def lag(self) -> int:
        return bus.function_lag(self.broker.settings, {self.name: [self.topic]})[self.name][
            self.topic
        ]

    def await_no_lag(self) -> None:
        eventually(lambda: self.lag() == 0)

    def dead_letters(self) -> list[Message]:
        settings = self.broker.settings
        return list(bus.read(settings, bus.extents(settings, {f"{self.topic}.dlq"})))


def by_study(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for study, event in pairs:
        found.setdefault(study, []).append(event)
    return found


def expected(events: list[AccessLogged]) -> dict[str, list[str]]:
    return by_study([(one.study_instance_uid, one.id) for one in events])

"""What a stack consists of, and how each part is run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final

from pacsless.functions import load_functions
from pacsless.settings import Settings
from pacsless.stack import kafka, probes
from pacsless.stack.errors import StackError
from pacsless.stack.probes import Probe
from pacsless.stack.settings import LOOPBACK, REPOSITORY, StackSettings

_ROTATE_ACCESS_LOG_AT: Final = 64 << 20


class Stage(IntEnum):
    """Parts of a stage depend on those of the stages before; they stop in the reverse order."""

    STORE = 0
    FUNCTION = 1
    TRIGGER = 2
    DOOR = 3


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the stack."""

    name: str
    stage: Stage
    command: tuple[str, ...]
    probe: Probe | None
    """Asks it whether it is ready; None if there is nothing to ask."""
    address: str = ""
    """Where it listens."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What it gets beside `StackSettings.environment`."""
    stop_signal: str = "TERM"


def executable(name: str, package: str) -> str:
    """Path of a program of the system.

    Raises
    ------
    StackError
        If it is not installed.
    """
    # Debian's users do not have sbin in PATH, where nginx is.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        raise StackError(name, f"{name} is not installed: make setup, or apt-get install {package}")
    return found


def stores(settings: StackSettings, kafka_jars: Path) -> list[Part]:
    """Kafka, PostgreSQL, Redis and the warehouse; makes their data folders on first use."""
    ports = settings.ports
    return [
        Part(
            "kafka",
            Stage.STORE,
            tuple(
                kafka.prepare(
                    settings.data("kafka"), kafka_jars, ports.kafka, ports.kafka_controller
                )
            ),
            probes.kafka_topics(ports.kafka),
            f"{LOOPBACK}:{ports.kafka}",
        ),
        Part(
            "postgres",
            Stage.STORE,
            tuple(settings.postgres.prepare()),
            probes.postgres_select(settings.postgres.url),
            f"{LOOPBACK}:{ports.postgres}",
            # SIGTERM would wait for clients to leave.
            stop_signal="INT",
        ),
        Part(
            "redis",
            Stage.STORE,
            (
                executable("redis-server", "redis-server"),
                str(settings.configuration / "redis.conf"),
            ),
            probes.redis_ping(ports.redis),
            f"{LOOPBACK}:{ports.redis}",
        ),
        Part(
            "warehouse",
            Stage.STORE,
            _pacsless(
                "warehouse", "--data", settings.data("warehouse"),
                "--fe-port", ports.warehouse_fe,
                "--be-port", ports.warehouse_be,
                "--mysql-port", ports.warehouse_mysql,
            ),
            probes.both(
                probes.http_ok(ports.warehouse_fe, "/api/health"),
                probes.greets(ports.warehouse_mysql),
            ),
            f"mysql://root@{LOOPBACK}:{ports.warehouse_mysql}/pacsless",
        ),
    ]  # fmt: skip


def services(settings: StackSettings) -> list[Part]:
    """Functions with their triggers and timer, the gateway, nginx and what ships its access log."""
    ports = settings.ports
    found, timed = [], []
    for name, spec in load_functions().items():
        if spec.kind == "authorization" and not Settings.from_environ().oauth2_issuer:
            continue
        if spec.kind != "event" or not settings.scale:
            found.append(_function(settings, name, spec.threads))
        if spec.kind == "event":
            found.append(_trigger(settings, name))
        elif spec.kind == "timer":
            timed += ["--target", f"{name}=http://{LOOPBACK}:{ports.functions[name]}"]
    return [
        *found,
        Part("timer", Stage.TRIGGER, _pacsless("timer", *timed), None),
        Part(
            "access-log",
            Stage.TRIGGER,
            _pacsless(
                "access-log",
                "--log", settings.access_log,
                "--position", settings.data("access-log") / "position.json",
                "--nginx-pid", settings.run / "nginx" / "nginx.pid",
                "--rotate-at", _ROTATE_ACCESS_LOG_AT,
            ),
            None,
        ),
        Part(
            "scp-gateway",
            Stage.DOOR,
            (sys.executable, "-m", "scp_gateway"),
            probes.http_ok(ports.scp_gateway_admin, "/readyz"),
            f"{LOOPBACK}:{ports.scp_gateway}",
        ),
        Part(
            "nginx",
            Stage.DOOR,
            (
                sys.executable, "-m", "pacsless.stack.processes",
                executable("nginx", "nginx"),
                "-e", "stderr",
                "-p", str(settings.run / "nginx"),
                "-c", str(settings.configuration / "nginx.conf"),
            ),
            probes.http_ok(ports.nginx, "/healthz"),
            settings.url,
            stop_signal="QUIT",
        ),
    ]  # fmt: skip


def _pacsless(*arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-m", "pacsless", *map(str, arguments))


def _function(settings: StackSettings, name: str, threads: int) -> Part:
    port = settings.ports.functions[name]
    environment = {"THREADS": str(threads)} if threads else {}
    return Part(
        name,
        Stage.FUNCTION,
        (sys.executable, "-m", "pacsless.serve"),
        probes.http_ok(port, "/readyz"),
        f"http://{LOOPBACK}:{port}",
        {
            "FUNCTION_TARGET": name,
            "FUNCTION_SOURCE": str(REPOSITORY / "functions" / name / "main.py"),
            "PORT": str(port),
            # Where gunicorn serves, it puts a control socket there: each its own.
            "XDG_RUNTIME_DIR": str(settings.run / name),
            **environment,
        },
    )


def _trigger(settings: StackSettings, name: str) -> Part:
    port, part = settings.ports.triggers[name], f"{name}-trigger"
    to: tuple[str, ...]
    if settings.scale:
        # Its workers end with it: back under its name, it finds no batch in hand.
        to = ("--scale", "--instance", part)
    else:
        to = ("--target", f"http://{LOOPBACK}:{settings.ports.functions[name]}")
    return Part(
        part,
        Stage.TRIGGER,
        _pacsless("trigger", "--function", name, *to, "--metrics-port", port),
        probes.http_ok(port, "/metrics"),
        f"http://{LOOPBACK}:{port}/metrics",
    )

"""Pacsless' own gateway, and the Kafka broker that takes its events."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import urllib3

from bench.receivers import NotStarted, Process, Profile, Receiver, free_ports, listens
from pacsless.bus import create_topics
from pacsless.errors import Unavailable
from pacsless.settings import Settings
from pacsless.stack import kafka

REPOSITORY = Path(__file__).resolve().parents[1]
_HTTP = urllib3.PoolManager(retries=False)
_SETTLE_SECONDS = 60.0


class Broker:
    """One real Kafka broker.

    Parameters
    ----------
    folder
        For its configuration and data.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port, self._controller_port = free_ports(2)
        self._process = Process("Kafka", folder / "log")
        self.version = ""

    def start(self) -> None:
        """Start it; return when every topic is there."""
        jars = kafka.jars(REPOSITORY / ".pacsless" / "cache")
        (client,) = jars.glob("kafka-clients-*.jar")
        self.version = client.stem.rpartition("-")[2]
        command = kafka.prepare(self._folder, jars, self.port, self._controller_port)
        settings = Settings(kafka=(f"127.0.0.1:{self.port}",))

        def ready() -> bool:
            if not listens(self.port):
                return False
            try:
                create_topics(settings)
            except Unavailable:
                return False
            return True

        self._process.start(command, ready)

    def stop(self) -> None:
        """End it and remove its data."""
        self._process.stop()
        shutil.rmtree(self._folder / "data", ignore_errors=True)


class Gateway(Receiver):
    """``python -m scp_gateway``.

    Parameters
    ----------
    folder
        For archive, spool and log.
    root
        The source tree it comes from.
    broker
        Takes its events; without one they stay in the outbox.
    """

    def __init__(self, folder: Path, root: Path, broker: Broker | None) -> None:
        how = "`python -m scp_gateway`, defaults"
        if own := sorted(name for name in os.environ if name.startswith("PACSLESS_GATEWAY_")):
            how = f"`python -m scp_gateway`, set: {', '.join(own)}"
        events = f"events to Kafka {broker.version}" if broker else "no Kafka"
        profile = Profile(
            "pacsless", "Pacsless", version(root), f"{how}; {events}",
            "yes: file, journal of the event and folder fsynced",
        )  # fmt: skip
        super().__init__(profile, folder)
        self._root, self._broker = root.resolve(), broker
        self._archive = folder / "archive"
        self.output = self._archive / "default"
        self._admin_port, self._nobody = free_ports(2)

    def start(self) -> None:
        kafka_port = self._broker.port if self._broker else self._nobody
        # What is set for a stack in this shell is not meant for this gateway.
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PACSLESS_") or name.startswith("PACSLESS_GATEWAY_")
        } | {
            "PYTHONPATH": f"{self._root}{os.pathsep}{self._root / 'scp-gateway'}",
            "PACSLESS_ARCHIVE": f"file://{self._archive}",
            "PACSLESS_SPOOL": str(self.folder / "spool"),
            "PACSLESS_KAFKA": f"127.0.0.1:{kafka_port}",
            "PACSLESS_GATEWAY_PORT": str(self.port),
            "PACSLESS_GATEWAY_ADMIN_PORT": str(self._admin_port),
        }

        def ready() -> bool:
            return self._get("/healthz") is not None and listens(self.port)

        # -m puts the working directory before PYTHONPATH.
        self.process.start(self.command(), ready, environ, cwd=self.folder)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "scp_gateway"]

    def settle(self) -> float | None:
        if self._broker is None:
            return None
        start = time.monotonic()
        while waiting := self._waiting():
            if time.monotonic() - start > _SETTLE_SECONDS:
                raise NotStarted(f"{waiting:.0f} outbox entries still wait for Kafka")
            time.sleep(0.02)
        return time.monotonic() - start

    def clear(self) -> None:
        # A cleared tenant's folder stays, as it does in an archive that is in use.
        if self.output.exists():
            super().clear()

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self._archive, ignore_errors=True)
        shutil.rmtree(self.folder / "spool", ignore_errors=True)

    def _waiting(self) -> float:
        for line in (self._get("/metrics") or "").splitlines():
            if line.startswith("pacsless_gateway_outbox_depth "):
                return float(line.split()[1])
        raise NotStarted(f"the gateway does not tell its outbox's depth:\n{self.process.tail()}")

    def _get(self, path: str) -> str | None:
        try:
            answer = _HTTP.request("GET", f"http://127.0.0.1:{self._admin_port}{path}", timeout=10)
        except urllib3.exceptions.HTTPError:
            return None
        return answer.data.decode() if answer.status == 200 else None


def version(root: Path) -> str:
    """Its version, and the commit if the tree is a repository's."""
    for line in (root / "pyproject.toml").read_text().splitlines():
        if line.startswith("version"):
            version = line.split('"')[1]
            break
    else:
        version = "?"
    git = ["git", "-C", str(root)]
    commit = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not commit:
        return version
    changed = subprocess.run(
        [*git, "diff", "--quiet", "HEAD", "--", "pacsless", "scp-gateway"],
        capture_output=True, check=False,
    ).returncode  # fmt: skip
    return f"{version} ({commit}{' with changes' if changed else ''})"

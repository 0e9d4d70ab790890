"""Real services and functions that tests start for themselves, each in its own folder and ports."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask
import functions_framework
import pytest
import redis
import urllib3

from pacsless.bus import create_topics
from pacsless.errors import Unavailable
from pacsless.functions import load_functions
from pacsless.postgres import Database, migrate
from pacsless.settings import Settings
from pacsless.stack import kafka
from pacsless.stack.postgres import Postgres
from tests.eventually import eventually
from tests.ports import free_ports

REPOSITORY = Path(__file__).resolve().parents[1]


def require(*programs: str) -> None:
    """Skip the test if a program is missing; in CI nothing may be missing."""
    missing = [one for one in programs if shutil.which(one) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not installed: {', '.join(missing)} (make setup)")
    assert not missing, f"not installed: {missing}"


def app_of(function: str) -> flask.Flask:
    """A function as functions-framework serves it."""
    source = REPOSITORY / "functions" / function / "main.py"
    app: flask.Flask = functions_framework.create_app(function, str(source))  # type: ignore[no-untyped-call]
    return app


class FunctionProcess:
    """A function in a process of its own, served as in production.

    Parameters
    ----------
    name
        Of the function.
    folder
        Its ``archive``, ``spool`` and ``log``.
    environment
        Beside those; names of settings without their prefix.
    """

    def __init__(self, name: str, folder: Path, **environment: str) -> None:
        (self.port,) = free_ports(1)
        self.address = f"127.0.0.1:{self.port}"
        self.archive, self.spool, self.log = folder / "archive", folder / "spool", folder / "log"
        self.spool.mkdir(parents=True, exist_ok=True)
        self._environment = {
            **os.environ,
            "PACSLESS_ARCHIVE": f"file://{self.archive}",
            "PACSLESS_SPOOL": str(self.spool),
            "PACSLESS_REDIS": "",
            "FUNCTION_TARGET": name,
            "FUNCTION_SOURCE": str(REPOSITORY / "functions" / name / "main.py"),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "PYTHONPATH": str(REPOSITORY),
            "XDG_RUNTIME_DIR": str(folder),
            **{f"PACSLESS_{key}": value for key, value in environment.items()},
        }
        if threads := load_functions()[name].threads:
            self._environment["THREADS"] = str(threads)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, or start it again; return when it is ready."""
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pacsless.serve"],
                env=self._environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        eventually(self._is_ready, within=240)

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"the function ended:\n{self.log.read_text()[-4000:]}")
        try:
            answer = urllib3.request("GET", f"http://{self.address}/readyz", retries=False)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop all of its processes; SIGKILL for a crash."""
        if self._process is not None:
            os.killpg(self._process.pid, number)
            self._process.wait(60)
            self._process = None


@contextmanager
def running(
    command: list[str], environ: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program; what it says is appended to `log`."""
    with open(log, "ab") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _groups(client: Any) -> tuple[list[str]] | None:
    """Names of a broker's groups; None if it has just begun and does not know yet."""
    from kafka.errors import CoordinatorLoadInProgressError

    try:
        return ([one["group_id"] for one in client.list_groups()],)
    except CoordinatorLoadInProgressError:
        return None


class KafkaBroker:
    """One real broker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._controller_port = free_ports(2)
        self.servers = (f"127.0.0.1:{self.port}",)
        self.settings = Settings(kafka=self.servers)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, partitions: int = 4) -> None:
        """Start it, or start it again; return when every topic is there."""
        jars = kafka.jars(REPOSITORY / ".pacsless" / "cache")
        command = kafka.prepare(self.folder, jars, self.port, self._controller_port)
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

        def ready() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                pytest.fail("Kafka ended:\n" + (self.folder / "log").read_text()[-4000:])
            try:
                create_topics(self.settings, partitions)
            except Unavailable as error:
                raise AssertionError(str(error)) from None
            return True

        eventually(ready, within=240)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it; SIGKILL for a crash."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it answer nothing for a while."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def renew_topics(self, topics: list[str] | None = None) -> None:
        """Make these topics anew; all of them, and the groups, to empty the broker."""
        from kafka import KafkaAdminClient

        client = KafkaAdminClient(bootstrap_servers=list(self.servers))
        try:
            gone = topics or [one for one in client.list_topics() if not one.startswith("__")]
            client.delete_topics(gone)
            eventually(lambda: not set(gone) & set(client.list_topics()))
            if topics is None:
                client.delete_groups(eventually(lambda: _groups(client))[0])
        finally:
            client.close()
        create_topics(self.settings, 4)

    def configure(self, topic: str, values: dict[str, str]) -> None:
        """Change settings of a topic."""
        from kafka import KafkaAdminClient
        from kafka.admin import ConfigResource, ConfigResourceType

        client = KafkaAdminClient(bootstrap_servers=list(self.servers))
        try:
            client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, values)])
        finally:
            client.close()

    def evict_members(self, group: str) -> None:
        """Remove dead members from a group now, not when their session has timed out."""
        from kafka import KafkaAdminClient
        from kafka.admin import MemberToRemove

        client = KafkaAdminClient(bootstrap_servers=list(self.servers))
        try:
            members = client.describe_groups([group])[group]["members"]
            client.remove_group_members(
                group, [MemberToRemove(member_id=one["member_id"]) for one in members]
            )
        finally:
            client.close()


class RedisServer:
    """One real Redis."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        self.settings = Settings(redis=f"redis://127.0.0.1:{port}/0")
        self.client = redis.Redis(port=port)
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
             "--dir", str(folder)],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

        def ready() -> bool:
            try:
                return bool(self.client.ping())
            except redis.ConnectionError:
                return False

        eventually(ready)

    def stop(self) -> None:
        """Stop it; nothing it held is kept."""
        self.client.close()
        self._process.terminate()
        self._process.wait(30)


class PostgresServer:
    """One real PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        self._log = folder / "log"
        self._server = Postgres(folder / "postgres", port)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        """How to reach its database; every test has tenants of its own in it."""
        return Settings(postgres=self._server.url)

    def start(self) -> None:
        """Start it, or start it again; return when it answers."""
        command = self._server.prepare()
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        database = Database.from_settings(self.settings)

        def ready() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                pytest.fail("PostgreSQL ended:\n" + self._log.read_text()[-4000:])
            try:
                database.check()
            except Unavailable as error:
                raise AssertionError(str(error)) from None
            return True

        eventually(ready)
        database.close()
        migrate(self.settings, REPOSITORY / "schemas" / "postgres")

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it, without waiting for its clients; SIGQUIT for a crash."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

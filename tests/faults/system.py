"""The stack under test: its processes, and whether it is quiet."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pymysql
import urllib3

from pacsless.errors import PacslessError
from pacsless.postgres import Database
from pacsless.stack import lifecycle
from pacsless.stack.errors import StackError
from pacsless.stack.settings import LOOPBACK, StackSettings
from pacsless.stack.status import status
from pacsless.stack.supervision import Supervisor
from tests.crash.processes import children, is_running
from tests.eventually import eventually
from tests.faults.load import TENANTS

MUTATIONS: Final = ("commit", "error", "series", "label", "tenant", "clock")
"""What can be broken on purpose; ``mutations/sitecustomize.py`` does it."""
WITHOUT: Final = "PACSLESS_FAULTS_WITHOUT"
"""Environment variable that names it."""
_MUTATIONS: Final = Path(__file__).parent / "mutations"
_ASK_SECONDS: Final = 0.5
_STARTS: Final = 5
"""Tries to start the stack, a minute each: the machine may have much else to do."""


class FaultSettings(StackSettings):
    """A stack of two tenants, of whose build something may be left out."""

    def environment(self, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
        found = StackSettings.environment(self, inherited)
        titles = ",".join(f"{title}={tenant}" for tenant, title in TENANTS.items())
        found["PACSLESS_GATEWAY_AE_TITLES"] = titles
        # What a sweep mends, nobody would notice.
        found["PACSLESS_RECONCILE_REPAIR"] = "no"
        if os.environ.get(WITHOUT):
            found["PYTHONPATH"] = f"{_MUTATIONS}{os.pathsep}{found['PYTHONPATH']}"
            found["PACSLESS_FAULTS_PROOF"] = str(self.home / "proof")
        return found


@dataclass(frozen=True, slots=True)
class Quiet:
    """How it became quiet."""

    seconds: float
    problem: str
    """Why it did not, if it did not."""


class System:
    """A stack that is up.

    Parameters
    ----------
    settings
        Which.
    """

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.supervisor = Supervisor(settings)
        self.root = settings.archive_root
        self._pause = threading.Event()

    def __enter__(self) -> System:
        self.settings.home.mkdir(parents=True, exist_ok=True)
        (self.settings.home / "proof").mkdir(exist_ok=True)
        try:
            self._start()
        except BaseException:
            lifecycle.down(self.settings)
            raise
        return self

    def _start(self) -> None:
        for _ in range(_STARTS - 1):
            with contextlib.suppress(StackError):
                lifecycle.up(self.settings)
                return
            # What did start keeps running: the next try waits for the rest.
        lifecycle.up(self.settings)

    def __exit__(self, *_: object) -> None:
        lifecycle.down(self.settings)

    @property
    def gateway_port(self) -> int:
        """Where instances go."""
        return self.settings.ports.scp_gateway

    def dicomweb(self, tenant: str) -> str:
        """Root of a tenant's DICOMweb."""
        return f"{self.settings.url}/tenants/{tenant}/dicom-web"

    def pids(self) -> dict[str, int]:
        """Processes supervisord has started and counts as running, by part."""
        return {one.name: one.pid for one in self.supervisor.states() if one.running and one.pid}

    def signal(self, part: str, number: int, *, worker: int = -1) -> bool:
        """Send a signal to a part, or to one of its children; whether it was there to get it."""
        pid = self.pids().get(part, 0)
        if pid and worker >= 0:
            family = children(pid)
            pid = family[worker % len(family)] if family else 0
        if not pid or not is_running(pid):
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def flush_redis(self) -> bool:
        """Empty Redis; whether it was there."""
        try:
            with socket.create_connection((LOOPBACK, self.settings.ports.redis), 5) as connection:
                connection.sendall(b"FLUSHALL\r\n")
                return connection.recv(64).startswith(b"+OK")
        except OSError:
            return False

    def quiet(self, within: float) -> Quiet:
        """Wait until every part is up and every event handled."""
        began = time.monotonic()
        while True:
            problem = self._unrest()
            seconds = time.monotonic() - began
            if not problem or seconds > within:
                return Quiet(seconds, problem)
            self._pause.wait(_ASK_SECONDS)

    def _unrest(self) -> str:
        found = status(self.settings)
        if found.problems or found.lag is None or found.outbox is None:
            return "; ".join(found.problems) or "the broker cannot be asked"
        lag = {
            f"{function} of {topic}": count
            for function, topics in found.lag.items()
            for topic, count in topics.items()
            if count
        }
        if found.outbox["depth"]:
            return f"{found.outbox['depth']:.0f} records wait in the outbox"
        return f"events wait: {lag}" if lag else ""

    def await_access_log(self) -> None:
        """Wait until what was asked over HTTP so far is told in the warehouse.

        nginx writes its log a second late; a last request is waited for, and then
        those that other processes of nginx or other partitions have still to tell.
        """
        study = f"1.2.{time.time_ns()}"
        urllib3.request("GET", f"{self.settings.url}/dicom-web/studies/{study}", retries=False)
        told = f"SELECT count(*) FROM wado_access_log WHERE study_instance_uid = '{study}'"
        eventually(lambda: self.warehouse(told)[0][0] == 1)
        eventually(lambda: not self._unrest())

    def sql(self, query: str, **parameters: object) -> list[Any]:
        """Ask PostgreSQL."""
        database = Database.from_settings(self.settings.client(), size=1)
        try:
            return database.run(lambda transaction: transaction.run(query, **parameters))
        finally:
            database.close()

    def warehouse(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the warehouse."""
        connection = pymysql.connect(
            host=LOOPBACK, port=self.settings.ports.warehouse_mysql, user="root",
            database="pacsless", read_timeout=120,
        )  # fmt: skip
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def assert_mutated(self) -> None:
        """Fail unless what was to be broken was reached."""
        without = os.environ.get(WITHOUT)
        if without and not any((self.settings.home / "proof").iterdir()):
            raise PacslessError(
                "mutation", f"no part ever came to {without}: the mutation proves nothing"
            )

"""The whole local stack, once for all e2e tests, in a folder and on ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pacsless.postgres import Database
from pacsless.stack import lifecycle
from pacsless.stack.errors import StackError
from pacsless.stack.settings import LOOPBACK, Ports, StackSettings
from tests.ports import free_base
from tests.services import REPOSITORY, require


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that is up."""

    settings: StackSettings

    @property
    def url(self) -> str:
        return self.settings.url

    @property
    def dicom_port(self) -> int:
        return self.settings.ports.scp_gateway

    @property
    def mysql_port(self) -> int:
        return self.settings.ports.warehouse_mysql

    @property
    def mysql(self) -> dict[str, Any]:
        """Arguments of ``pymysql.connect``."""
        return {
            "host": LOOPBACK,
            "port": self.mysql_port,
            "user": "root",
            "database": "pacsless",
        }

    @property
    def archive_root(self) -> Path:
        return self.settings.archive_root

    @property
    def log_folder(self) -> Path:
        return self.settings.logs

    @property
    def environ(self) -> dict[str, str]:
        """Environment in which ``python -m pacsless`` means this stack."""
        return self.settings.environment()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``pacsless`` with these arguments."""
        return subprocess.run(
            [sys.executable, "-m", "pacsless", *arguments],
            cwd=REPOSITORY, env=self.environ, capture_output=True, text=True, timeout=240,
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        """What ``pacsless status --json`` tells."""
        told: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return told

    def sql(self, query: str) -> list[Any]:
        """Ask PostgreSQL."""
        database = Database.from_settings(self.settings.client(), size=1)
        try:
            with database.transaction() as transaction:
                return list(transaction.run(query))
        finally:
            database.close()


@contextlib.contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """Start a stack below `folder`; stop it in the end, leaving its logs if it failed."""
    require("java", "mvn", "redis-server", "/usr/sbin/nginx")
    settings = StackSettings(home=folder, ports=Ports.at(free_base()))
    try:
        try:
            lifecycle.up(settings)
        except StackError as error:
            pytest.fail(error.message)
        yield Stack(settings)
    finally:
        lifecycle.down(settings)


@contextlib.contextmanager
def temporary_stack(request: pytest.FixtureRequest, environ: dict[str, str]) -> Iterator[Stack]:
    """Run a stack with these settings in a folder that goes with it; keep the logs of a failure."""
    # Not pytest's own folder: its path is long, and PostgreSQL's user must reach it.
    folder = Path(tempfile.mkdtemp(prefix="pacsless-e2e-"))
    folder.chmod(0o755)
    failed_before = request.session.testsfailed
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            with running_stack(folder / "home") as running:
                yield running
    finally:
        if request.session.testsfailed > failed_before:
            kept = REPOSITORY / ".pacsless" / "e2e-logs"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder / "home" / "log", kept)
            print(f"\nLogs of the stack are in {os.path.relpath(kept)}")
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """One stack for all tests that do not break it."""
    # A sweep that announces things at any moment would change what tests count.
    with temporary_stack(request, {"PACSLESS_RECONCILE_REPAIR": "no"}) as running:
        yield running

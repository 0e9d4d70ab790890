"""PostgreSQL of a local stack: made once, then one command line."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pacsless.stack.errors import StackError

USER: Final = "pacsless"
DATABASE: Final = "pacsless"
_ACCOUNT: Final = "postgres"
_PACKAGED: Final = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL server below one folder, on loopback.

    Parameters
    ----------
    folder
        Where the data and the password lie.
    port
        TCP port on 127.0.0.1; there is no Unix socket.
    """

    folder: Path
    port: int

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _password(self) -> Path:
        return self.folder / "password"

    @property
    def url(self) -> str:
        """Address for ``PACSLESS_POSTGRES``, with the password `prepare` made.

        Raises
        ------
        StackError
            If it was not made yet.
        """
        try:
            password = quote(self._password.read_text().strip(), safe="")
        except FileNotFoundError:
            raise StackError(
                "postgres", f"there is no PostgreSQL in {self.folder}: make up makes one"
            ) from None
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    def prepare(self) -> list[str]:
        """Make the cluster, its user and its database unless they are there.

        Returns
        -------
        list of str
            Command that runs the server in the foreground; SIGINT stops it.

        Raises
        ------
        StackError
            If PostgreSQL is not installed or refuses.
        """
        if not (self.folder / "ready").is_file():
            self._make()
        return self._as_account([
            str(binaries() / "postgres"),
            "-D", str(self._data),
            "-c", "listen_addresses=127.0.0.1",
            "-c", f"port={self.port}",
            "-c", "unix_socket_directories=",
            # Pages it has to ask the kernel for cost ten times as much; it takes what it uses.
            "-c", "shared_buffers=512MB",
        ])  # fmt: skip

    def _make(self) -> None:
        # What an interrupted attempt left cannot hold data: "ready" was not written.
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(parents=True, mode=0o700)
        self._password.write_text(secrets.token_urlsafe(24) + "\n")
        self._password.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(self._data, _ACCOUNT, _ACCOUNT)
        self._run([
            str(binaries() / "initdb"),
            "-D", str(self._data),
            "--username", USER,
            "--pwfile", str(self._password),
            "--auth", "scram-sha-256",
            "--encoding", "UTF8",
            "--locale", "C.UTF-8",
        ])  # fmt: skip
        self._run(
            [str(binaries() / "postgres"), "--single", "-D", str(self._data), "postgres"],
            f"CREATE DATABASE {DATABASE}\n",
        )
        (self.folder / "ready").touch()

    def _run(self, command: list[str], text: str = "") -> None:
        done = subprocess.run(
            self._as_account(command),
            input=text,
            text=True,
            capture_output=True,
            check=False,
            cwd="/",
        )
        if done.returncode or "ERROR" in done.stderr or "FATAL" in done.stderr:
            raise StackError(
                "postgres", f"{Path(command[0]).name} failed: {done.stderr.strip()[-500:]}"
            )

    def _as_account(self, command: list[str]) -> list[str]:
        """PostgreSQL refuses to run as root; a repository below /root is closed to others."""
        if os.geteuid() != 0:
            return command
        return [
            "setpriv", f"--reuid={_ACCOUNT}", f"--regid={_ACCOUNT}", "--clear-groups",
            "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", *command,
        ]  # fmt: skip


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs; the newest version if there are several.

    Raises
    ------
    StackError
        If there is none.
    """
    versions = [
        path
        for path in _PACKAGED.glob("*/bin")
        if (path / "initdb").is_file() and re.fullmatch(r"\d+", path.parent.name)
    ]
    if versions:
        return max(versions, key=lambda path: int(path.parent.name))
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    raise StackError("postgres", "PostgreSQL is not installed: apt-get install postgresql")

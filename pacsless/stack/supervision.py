"""Keeping the parts running: one supervisord a stack, spoken to over a Unix socket."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pacsless.stack import processes
from pacsless.stack.errors import StackError
from pacsless.stack.parts import Part
from pacsless.stack.settings import StackSettings

_SOCKET_PATH_LIMIT: Final = 107 - len(".12345678")
# sun_path holds 108 bytes with its NUL (unix(7)); supervisord binds the path
# with ".<pid>" appended and renames it.


@dataclass(frozen=True, slots=True)
class PartState:
    """What supervisord says of a part."""

    name: str
    state: str
    """``RUNNING``, ``STARTING``, ``BACKOFF``, ``STOPPED``, ``EXITED``, ``FATAL``, …"""
    pid: int
    uptime: float
    """Seconds; 0 unless it runs."""

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.state == "RUNNING"


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(self._path)
        self._connection = host, connection
        return connection


def configuration(parts: Iterable[Part], settings: StackSettings, control: str) -> str:
    """Write supervisord's configuration.

    It holds no secret: what the parts share comes to them through supervisord's
    own environment.
    """
    sections = [
        "[unix_http_server]",
        f"file={control}",
        "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "[supervisord]",
        f"logfile={settings.logs / 'supervisord.log'}",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        f"pidfile={settings.run / 'supervisord.pid'}",
        f"childlogdir={settings.logs}",
        "umask=077",
        *(["user=root"] if os.geteuid() == 0 else []),
    ]
    for part in parts:
        environment = ",".join(f'{k}="{v}"' for k, v in sorted(part.environment.items()))
        sections += [
            "",
            f"[program:{part.name}]",
            f"command={shlex.join(part.command)}",
            f"directory={settings.run / part.name}",
            *([f"environment={environment}"] if environment else []),
            "autostart=false",
            "autorestart=true",
            "startsecs=1",
            "startretries=3",
            f"stopsignal={part.stop_signal}",
            "stopwaitsecs=45",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={settings.logs / f'{part.name}.log'}",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=2",
        ]
    return "\n".join(sections) + "\n"


class Supervisor:
    """The supervisord of one stack."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings

    def _state(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads(self.settings.state_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return state

    @property
    def alive(self) -> bool:
        """Whether the stack's supervisord runs and answers."""
        if self._state() is None:
            return False
        try:
            self.call("getState")
        except (OSError, http.client.HTTPException):
            return False
        return True

    @property
    def configuration(self) -> str:
        """What the running supervisord was configured with."""
        state = self._state() or {}
        return str(state.get("configuration", ""))

    @property
    def stages(self) -> dict[str, int]:
        """Stage of each part that was configured."""
        return {str(k): int(v) for k, v in (self._state() or {}).get("stages", {}).items()}

    @property
    def control(self) -> str:
        """Path of the running supervisord's socket."""
        return str((self._state() or {}).get("control", ""))

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of supervisord's XML-RPC interface.

        Raises
        ------
        OSError
            If supervisord does not answer.
        xmlrpc.client.Fault
            If it refuses.
        """
        state = self._state()
        if state is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "the stack is not up")
        proxy = xmlrpc.client.ServerProxy(
            "http://localhost", transport=_UnixTransport(state["control"])
        )
        with proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def launch(self, parts: Sequence[Part], environment: Mapping[str, str]) -> None:
        """Start supervisord, with no part running yet.

        Raises
        ------
        StackError
            If it does not come up.
        """
        settings = self.settings
        control = _control_socket(settings)
        text = configuration(parts, settings, control)
        file = settings.configuration / "supervisord.conf"
        _write(file, text)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)]
        state = {
            "control": control,
            "ports": settings.ports.as_dict(),
            "configuration": text,
            "stages": {part.name: part.stage for part in parts},
        }
        _write(settings.state_file, json.dumps(state))
        done = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, check=False
        )
        deadline = time.monotonic() + 10
        while done.returncode == 0 and time.monotonic() < deadline:
            if self.alive:
                pid = int(self.call("getPID"))
                _write(settings.state_file, json.dumps(state | {"pid": pid}))
                return
            time.sleep(0.02)
        self._forget()
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise StackError(
            "supervisord",
            f"supervisord did not start: {' '.join(reason)}; see {settings.logs}/supervisord.log",
        )

    def start(self, names: Iterable[str]) -> None:
        """Start parts that are not running; return at once."""
        running = {one.name for one in self.states() if one.state in ("RUNNING", "STARTING")}
        for name in names:
            if name not in running:
                with contextlib.suppress(xmlrpc.client.Fault):  # it stands in `states`
                    self.call("startProcess", name, False)

    def restart(self, name: str) -> None:
        """Stop a part, wait for its end, and start it again."""
        self.stop([name])
        self.start([name])

    def states(self) -> list[PartState]:
        """State of every part, in the order of the configuration; empty if not up."""
        try:
            found = self.call("getAllProcessInfo")
        except (OSError, http.client.HTTPException):
            return []
        return [
            PartState(
                str(one["name"]),
                str(one["statename"]),
                int(one["pid"]),
                float(max(0, one["now"] - one["start"])) if one["pid"] else 0.0,
            )
            for one in found
        ]

    def state(self, name: str) -> str:
        """State of one part; ``UNKNOWN`` if supervisord does not answer."""
        try:
            return str(self.call("getProcessInfo", name)["statename"])
        except (OSError, http.client.HTTPException, xmlrpc.client.Fault):
            return "UNKNOWN"

    def stop(self, names: Iterable[str]) -> None:
        """Stop parts together and wait until they are gone."""
        wanted = set(names)
        idle = {"STOPPED", "EXITED", "FATAL", "UNKNOWN"}
        for one in self.states():
            if one.name in wanted and one.state not in idle:
                with contextlib.suppress(xmlrpc.client.Fault):  # gone in between
                    self.call("stopProcess", one.name, False)
        deadline = time.monotonic() + 60
        while any(one.name in wanted and one.state not in idle for one in self.states()):
            if time.monotonic() > deadline:  # `end` takes what is left
                return
            time.sleep(0.05)

    def end(self) -> None:
        """Stop supervisord, and whatever it or a killed one before it left behind."""
        state = self._state()
        if state is None:
            return
        with contextlib.suppress(OSError, http.client.HTTPException, xmlrpc.client.Fault):
            self.call("shutdown")
        session = int(state.get("pid", 0)) or _read_pid(self.settings.run / "supervisord.pid")
        if session:
            processes.end_session(session)
        self._forget()

    def _forget(self) -> None:
        state = self._state() or {}
        control = Path(state.get("control", ""))
        if control.name and control.parent != self.settings.run:
            shutil.rmtree(control.parent, ignore_errors=True)
        self.settings.state_file.unlink(missing_ok=True)


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(file)


def _control_socket(settings: StackSettings) -> str:
    path = settings.run / "supervisor.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
        return str(path)
    return str(Path(tempfile.mkdtemp(prefix="pacsless-")) / "supervisor.sock")


def _read_pid(file: Path) -> int:
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return 0

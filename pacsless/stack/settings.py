"""Where a stack keeps its data and which ports it listens on."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

from pacsless.functions import load_functions
from pacsless.settings import InvalidSetting, Settings, boolean
from pacsless.stack.postgres import Postgres

REPOSITORY: Final = Path(__file__).resolve().parents[2]
"""The folder that holds ``functions/``, ``scp-gateway/`` and ``charts/``."""

FUNCTIONS: Final = tuple(load_functions())
"""Name of every function there is."""

LOOPBACK: Final = "127.0.0.1"

_PLAIN_PATH: Final = re.compile(r"/[\w./@+:,~-]+")
_PREFIX: Final = "PACSLESS_PORT_"
_BASE: Final = f"{_PREFIX}BASE"
_FUNCTION_OFFSET: Final = 20
_TRIGGER_OFFSET: Final = 60
_SPAN: Final = 100


def _function_ports(first: int) -> dict[str, int]:
    return {name: first + index for index, name in enumerate(FUNCTIONS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Every TCP port of a stack; all on 127.0.0.1."""

    nginx: int = 8080
    """DICOMweb and the viewer."""
    scp_gateway: int = 11112
    """DICOM."""
    scp_gateway_admin: int = 8081
    """Health and metrics of the gateway."""
    kafka: int = 19092
    kafka_controller: int = 19093
    postgres: int = 15432
    redis: int = 16379
    warehouse_fe: int = 8030
    """Stream Load, front end."""
    warehouse_be: int = 8040
    """Stream Load, back end."""
    warehouse_mysql: int = 9030
    """SQL over the MySQL protocol."""
    functions: Mapping[str, int] = field(default_factory=lambda: _function_ports(8120))
    """Port of each function."""
    triggers: Mapping[str, int] = field(default_factory=lambda: _function_ports(8160))
    """Health and metrics of each function's trigger."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read ``PACSLESS_PORT_BASE`` and the single ports.

        Raises
        ------
        InvalidSetting
            If a value is no port, a name is unknown, or two parts share a port.
        """
        ports = cls().as_dict()
        if _BASE in environ:
            base = _port(_BASE, environ[_BASE], highest=65535 - _SPAN)
            ports = cls.at(base).as_dict()
        for name, text in environ.items():
            if not name.startswith(_PREFIX) or name == _BASE:
                continue
            part = name.removeprefix(_PREFIX).lower()
            if part not in ports:
                known = ", ".join(sorted(one.upper() for one in ports))
                raise InvalidSetting("setting", f"{name} names no part; there are {known}")
            ports[part] = _port(name, text)
        found = cls.of_dict(ports)
        taken: dict[int, str] = {}
        for part, port in ports.items():
            if port in taken:
                raise InvalidSetting("setting", f"{part} and {taken[port]} both have port {port}")
            taken[port] = part
        return found

    @classmethod
    def at(cls, base: int) -> Self:
        """All ports of a stack in the hundred that starts at `base`."""
        single = {name: base + index for index, name in enumerate(_SINGLE)}
        return cls(
            **single,
            functions=_function_ports(base + _FUNCTION_OFFSET),
            triggers=_function_ports(base + _TRIGGER_OFFSET),
        )

    @classmethod
    def of_dict(cls, ports: Mapping[str, int]) -> Self:
        """Build the ports from what `as_dict` returned."""
        return cls(
            **{name: ports[name] for name in _SINGLE},
            functions={name: ports[name] for name in FUNCTIONS},
            triggers={name: ports[f"{name}_trigger"] for name in FUNCTIONS},
        )

    def as_dict(self) -> dict[str, int]:
        """Return every port by the name its setting ends in, in lower case."""
        ports: dict[str, int] = {name: getattr(self, name) for name in _SINGLE}
        ports |= self.functions
        ports |= {f"{name}_trigger": port for name, port in self.triggers.items()}
        return ports

    def in_use(self) -> dict[str, int]:
        """Which of the ports some program already listens on."""
        return {name: port for name, port in self.as_dict().items() if not _free(port)}


# They would change how a part's interpreter or function starts; compiled modules
# halve the time of a second start.
_NOT_INHERITED: Final = {
    "DEBUG", "FUNCTION_SIGNATURE_TYPE", "FUNCTION_SOURCE", "FUNCTION_TARGET", "FUNCTION_USE_ASGI",
    "PORT", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONSTARTUP", "THREADS", "WORKERS",
}  # fmt: skip
_SINGLE: Final = tuple(
    one.name for one in fields(Ports) if one.name not in ("functions", "triggers")
)


def _port(name: str, text: str, highest: int = 65535) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 1 <= port <= highest:
        raise InvalidSetting("setting", f"{name} must be a port number from 1 to {highest}")
    return port


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """One stack on this machine."""

    home: Path
    """Everything the stack writes lies below it; absolute."""
    ports: Ports = field(default_factory=Ports)
    scale: bool = False
    """Whether each trigger runs its function's workers, by lag, and none while idle."""

    def __post_init__(self) -> None:
        # The path stands in five programs' configurations, each with its own quoting.
        if not _PLAIN_PATH.fullmatch(f"{self.home}{REPOSITORY}"):
            raise InvalidSetting(
                "setting",
                "PACSLESS_HOME and the path of the repository may hold letters, digits and "
                "./@+:,~_- only",
            )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read ``PACSLESS_HOME``, ``PACSLESS_SCALE`` and the ports.

        A stack that is running keeps the ports it was started with, so
        ``pacsless status`` finds it without repeating the settings of ``up``.
        """
        environ = os.environ if environ is None else environ
        home = Path(environ.get("PACSLESS_HOME") or REPOSITORY / ".pacsless").absolute()
        asked = any(name.startswith(_PREFIX) for name in environ)
        recorded = None if asked else cls(home=home)._recorded()
        return cls(
            home=home,
            ports=recorded or Ports.from_environ(environ),
            scale=boolean("PACSLESS_SCALE", environ.get("PACSLESS_SCALE", "false")),
        )

    def _recorded(self) -> Ports | None:
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text())
            return Ports.of_dict(state["ports"])
        except (FileNotFoundError, KeyError, ValueError):
            return None  # not running, or started before a function was added

    @property
    def archive_root(self) -> Path:
        """Where originals, metadata and renditions lie."""
        return self.home / "archive"

    @property
    def spool(self) -> Path:
        """The gateway's outbox journal."""
        return self.home / "spool"

    @property
    def configuration(self) -> Path:
        """Generated configuration files; written anew by every ``up``."""
        return self.home / "etc"

    @property
    def logs(self) -> Path:
        """One log a part."""
        return self.home / "log"

    @property
    def access_log(self) -> Path:
        """Access log of nginx, which `pacsless.access_log` ships and rotates."""
        return self.data("access-log") / "access.log"

    @property
    def pseudonym_key(self) -> Path:
        """The secret that new names in anonymized instances are made with."""
        return self.home / "pseudonym.key"

    @property
    def run(self) -> Path:
        """Process ids, sockets, locks."""
        return self.home / "run"

    @property
    def state_file(self) -> Path:
        """What is running: there while a stack is up."""
        return self.run / "stack.json"

    def data(self, part: str) -> Path:
        """Folder of a part's own data."""
        return self.home / part

    @property
    def url(self) -> str:
        """Root of the web site: the viewer, with DICOMweb below it."""
        return f"http://{LOOPBACK}:{self.ports.nginx}"

    @property
    def postgres(self) -> Postgres:
        """The PostgreSQL server."""
        return Postgres(self.data("postgres"), self.ports.postgres)

    def client(self) -> Settings:
        """Return the settings of whatever uses this stack."""
        return Settings.from_environ(self.environment())

    def environment(self, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment of every part.

        Parameters
        ----------
        inherited
            What to start from; of the other settings of Pacsless in it, those
            that do not say where a part is are kept.
        """
        inherited = os.environ if inherited is None else inherited
        ports = self.ports
        kept = {
            name: value
            for name, value in inherited.items()
            if name not in _NOT_INHERITED and not name.startswith(_PREFIX)
        }
        return kept | {
            "PACSLESS_HOME": str(self.home),
            "PACSLESS_ARCHIVE": f"file://{self.archive_root}",
            "PACSLESS_SPOOL": str(self.spool),
            "PACSLESS_PSEUDONYM_KEY": str(self.pseudonym_key),
            "PACSLESS_KAFKA": f"{LOOPBACK}:{ports.kafka}",
            "PACSLESS_POSTGRES": self.postgres.url,
            "PACSLESS_REDIS": f"redis://{LOOPBACK}:{ports.redis}/0",
            "PACSLESS_DORIS": f"http://{LOOPBACK}:{ports.warehouse_fe}",
            "PACSLESS_DORIS_MYSQL": f"{LOOPBACK}:{ports.warehouse_mysql}",
            "PACSLESS_DORIS_REDIRECT_HOSTS": f"{LOOPBACK}:{ports.warehouse_be}",
            "PACSLESS_GATEWAY_HOST": LOOPBACK,
            "PACSLESS_GATEWAY_PORT": str(ports.scp_gateway),
            "PACSLESS_GATEWAY_ADMIN_PORT": str(ports.scp_gateway_admin),
            "HOST": LOOPBACK,
            "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'scp-gateway'}",
            "PYTHONUNBUFFERED": "1",
        }

"""Where the database is, and how a connection to it is opened."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

from pg8000.native import Connection as Wire

from pacsless.settings import InvalidSetting

_CONNECT_SECONDS: Final = 5.0
_GREETING_SECONDS: Final = 15.0
REPLY_SECONDS: Final = 60.0
"""The longest a statement may take to answer; the server gives up a little before."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is."""

    host: str
    port: int
    user: str
    password: str
    database: str
    sslmode: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``postgresql://user:password@host:port/database?sslmode=…``.

        Raises
        ------
        InvalidSetting
            If it is not such an address.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 5432
            # What comes after a bare / ? or # of a password would be host and port.
            torn = "@" not in parts.netloc and "@" in url
        except ValueError:
            torn, port = True, 0
        if torn:
            raise InvalidSetting(
                "setting",
                "PACSLESS_POSTGRES has no valid port, or a password with / ? # [ or ] in it that "
                "is not percent-encoded",
            ) from None
        mode = parse_qs(parts.query).get("sslmode", ["prefer"])[0]
        if parts.scheme not in ("postgresql", "postgres") or not parts.hostname:
            raise InvalidSetting(
                "setting", "PACSLESS_POSTGRES must be postgresql://user:password@host:port/database"
            )
        if mode not in ("disable", "prefer", "require", "verify-full"):
            raise InvalidSetting(
                "setting", "sslmode must be disable, prefer, require or verify-full"
            )
        return cls(
            parts.hostname,
            port,
            unquote(parts.username or "pacsless"),
            unquote(parts.password or ""),
            unquote(parts.path.lstrip("/")) or "pacsless",
            mode,
        )

    def connect(self, *, patient: bool = False) -> Wire:
        """Open a connection; statements of a patient one may take as long as they take."""
        sock = socket.create_connection((self.host, self.port), _CONNECT_SECONDS)
        try:
            # pg8000 does neither: a long parameter's last segment would wait for
            # an acknowledgement, and a dead server would never be noticed.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            # Whatever takes a connection and never greets is no database.
            sock.settimeout(_GREETING_SECONDS)
            wire = Wire(
                self.user,
                host=self.host,
                database=self.database,
                password=self.password,
                sock=sock,
                ssl_context=self._ssl(),
                application_name="pacsless",
                startup_params={
                    "statement_timeout": "0" if patient else "50s",
                    # A generic plan cannot use an index for LIKE $1.
                    "plan_cache_mode": "force_custom_plan",
                },
            )
            wire._usock.settimeout(None if patient else REPLY_SECONDS)
            return wire
        except BaseException:
            sock.close()
            raise

    def _ssl(self) -> ssl.SSLContext | bool | None:
        match self.sslmode:
            case "disable":
                return False
            case "prefer":
                return None
            case "require":
                context = ssl.create_default_context()
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                return context
            case _:
                return ssl.create_default_context()

"""Whether a server can be reached, told in words that name no password."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from pacsless.errors import Unavailable
from pacsless.settings import InvalidSetting

CONNECT_SECONDS: Final = 5.0


def shown(address: str) -> str:
    """Return an address without the user and the password in it.

    Examples
    --------
    >>> shown("redis://:secret@cache:6379/0")
    'redis://cache:6379/0'
    >>> shown("kafka:9092")
    'kafka:9092'
    """
    scheme, found, rest = address.partition("://")
    if not found:
        scheme, rest = "", address
    # A password may hold an @ that nobody has escaped.
    return f"{scheme}{found}{rest.rpartition('@')[2]}"


def host_and_port(address: str, setting: str, default: int) -> tuple[str, int]:
    """Read ``host:port``, or the same of a URL.

    Raises
    ------
    InvalidSetting
        If it is neither.

    Examples
    --------
    >>> host_and_port("http://doris:8030/", "PACSLESS_DORIS", 8030)
    ('doris', 8030)
    >>> host_and_port("[::1]", "PACSLESS_KAFKA", 9092)
    ('::1', 9092)
    """
    place = shown(address).partition("://")
    place_text = (place[2] or place[0]).partition("/")[0]
    host, colon, port = place_text.rpartition(":")
    if not colon or place_text.endswith("]"):
        host, port = place_text, str(default)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidSetting("setting", f"{setting} is no address: it must have host:port")
    return host, int(port)


def reach(host: str, port: int, seconds: float = CONNECT_SECONDS) -> None:
    """Connect, and hang up.

    Raises
    ------
    Unavailable
        ``unreachable``, with the reason.
    """
    try:
        socket.create_connection((host, port), seconds).close()
    except (OSError, UnicodeError) as error:
        raise Unavailable("unreachable", f"{host}:{port}: {reason(error)}") from None


def reason(error: OSError | UnicodeError) -> str:
    """Say in plain words why a connection did not come about, or broke."""
    match error:
        case socket.gaierror() | UnicodeError():
            return "its name cannot be resolved"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({error.verify_message})"
        case ssl.SSLError():
            return "no TLS could be agreed on"
        case ConnectionRefusedError():
            return "nothing listens there"
        case TimeoutError():
            return "no answer in time; a firewall or network policy may be between"
        case _:
            return error.strerror or type(error).__name__

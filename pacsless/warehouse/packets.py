"""Packets of the MySQL client/server protocol, version 4.1, text results only."""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO, Final

MAX_PAYLOAD: Final = 0xFFFFFF
MAX_COMMAND: Final = 16 * 1024 * 1024
PLUGIN: Final = "mysql_native_password"

LONG_PASSWORD: Final = 0x1
CONNECT_WITH_DB: Final = 0x8
PROTOCOL_41: Final = 0x200
TRANSACTIONS: Final = 0x2000
SECURE_CONNECTION: Final = 0x8000
PLUGIN_AUTH: Final = 0x80000
PLUGIN_AUTH_LENENC: Final = 0x200000
CAPABILITIES: Final = (
    LONG_PASSWORD | CONNECT_WITH_DB | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH
)
_AUTOCOMMIT: Final = 0x2
_UTF8MB4: Final = 45
_BINARY: Final = 63

# MySQL's type, its display length and whether it is a number, by DuckDB's type.
_TYPES: Final = {
    "BOOLEAN": (0x01, 1), "TINYINT": (0x01, 4), "SMALLINT": (0x02, 6), "INTEGER": (0x03, 11),
    "BIGINT": (0x08, 20), "UTINYINT": (0x02, 6), "USMALLINT": (0x03, 11), "UINTEGER": (0x08, 20),
    "UBIGINT": (0x08, 21), "HUGEINT": (0x08, 40), "UHUGEINT": (0x08, 40), "FLOAT": (0x04, 12),
    "DOUBLE": (0x05, 22), "DATE": (0x0A, 10), "TIME": (0x0B, 15), "TIMESTAMP": (0x0C, 26),
    "DECIMAL": (0xF6, 40),
}  # fmt: skip
_VAR_STRING: Final = (0xFD, 65_533 * 4)
_NUMBERS: Final = {0x01, 0x02, 0x03, 0x04, 0x05, 0x08, 0xF6}


class Disconnected(ConnectionError):
    """The client is gone, or speaks something else."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a result: its name and DuckDB's type."""

    name: str
    type: str = "VARCHAR"
    table: str = ""


class Wire:
    """Packets over a connection, numbered as the protocol wants."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader = reader
        self._writer = writer
        self.sequence = 0

    def receive(self) -> bytes:
        """Read a packet.

        Raises
        ------
        Disconnected
            If the connection ends, or the packet is above 16 MiB.
        """
        payload = b""
        while True:
            head = self._exactly(4)
            size = int.from_bytes(head[:3], "little")
            self.sequence = (head[3] + 1) % 256
            if len(payload) + size > MAX_COMMAND:
                raise Disconnected
            payload += self._exactly(size)
            if size < MAX_PAYLOAD:
                return payload

    def _exactly(self, size: int) -> bytes:
        found = self._reader.read(size)
        if found is None or len(found) < size:
            raise Disconnected
        return found

    def send(self, payload: bytes) -> None:
        """Write a packet; it goes out with `flush`."""
        while True:
            part, payload = payload[:MAX_PAYLOAD], payload[MAX_PAYLOAD:]
            self._writer.write(len(part).to_bytes(3, "little") + bytes([self.sequence]) + part)
            self.sequence = (self.sequence + 1) % 256
            if len(part) < MAX_PAYLOAD:
                return

    def flush(self) -> None:
        """Let the client have what was sent."""
        self._writer.flush()


def handshake(version: str, connection_id: int, scramble: bytes) -> bytes:
    """Greet (protocol::HandshakeV10)."""
    return b"".join([
        b"\x0a", version.encode(), b"\0", struct.pack("<I", connection_id), scramble[:8], b"\0",
        struct.pack("<HBHH", CAPABILITIES & 0xFFFF, _UTF8MB4, _AUTOCOMMIT, CAPABILITIES >> 16),
        bytes([len(scramble) + 1]), b"\0" * 10, scramble[8:], b"\0", PLUGIN.encode(), b"\0",
    ])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Login:
    """What a client says of itself."""

    user: str
    proof: bytes
    database: str
    plugin: str


def read_login(payload: bytes) -> Login:
    """Read the answer to the greeting (protocol::HandshakeResponse41)."""
    try:
        flags = int.from_bytes(payload[:4], "little")
        if not flags & PROTOCOL_41 or not flags & SECURE_CONNECTION:
            raise Disconnected
        end = payload.index(b"\0", 32)
        user = payload[32:end].decode()
        size = payload[end + 1]
        at = end + 2
        proof, at = payload[at : at + size], at + size
        database = plugin = ""
        if flags & CONNECT_WITH_DB and at < len(payload):
            end = payload.index(b"\0", at)
            database, at = payload[at:end].decode(), end + 1
        if flags & PLUGIN_AUTH and at < len(payload):
            plugin = payload[at:].split(b"\0", 1)[0].decode()
    except (ValueError, IndexError):
        raise Disconnected from None
    return Login(user, proof, database, plugin)


def proves(proof: bytes, password: str, scramble: bytes) -> bool:
    """Whether a client knows the password (mysql_native_password)."""
    if not password:
        return proof == b""
    once = hashlib.sha1(password.encode()).digest()  # noqa: S324 -- the protocol's
    twice = hashlib.sha1(once).digest()  # noqa: S324
    mask = hashlib.sha1(scramble + twice).digest()  # noqa: S324
    return hmac.compare_digest(proof, bytes(a ^ b for a, b in zip(once, mask, strict=True)))


def switch(scramble: bytes) -> bytes:
    """Ask for the password's proof in our way (protocol::AuthSwitchRequest)."""
    return b"\xfe" + PLUGIN.encode() + b"\0" + scramble + b"\0"


def ok(affected: int = 0) -> bytes:
    """Report success (OK_Packet)."""
    return b"\x00" + _number(affected) + b"\x00" + struct.pack("<HH", _AUTOCOMMIT, 0)


def end() -> bytes:
    """End fields or rows (EOF_Packet)."""
    return b"\xfe" + struct.pack("<HH", 0, _AUTOCOMMIT)


def error(code: int, state: str, message: str) -> bytes:
    """Report failure (ERR_Packet)."""
    return b"\xff" + struct.pack("<H", code) + b"#" + state.encode() + message.encode()


def count(fields: Sequence[Field]) -> bytes:
    """Announce the number of columns."""
    return _number(len(fields))


def definition(field: Field, *, listed: bool = False) -> bytes:
    """Describe a column (protocol::ColumnDefinition41); `listed` for COM_FIELD_LIST."""
    base = field.type.partition("(")[0]
    kind, length = _TYPES.get(base, _VAR_STRING)
    text = kind == _VAR_STRING[0]
    decimals = 0
    if base == "DECIMAL" and "," in field.type:
        decimals = int(field.type.rpartition(",")[2].rstrip(")"))
    elif base in ("FLOAT", "DOUBLE"):
        decimals = 31
    elif base == "TIMESTAMP":
        decimals = 6
    flags = 0x8000 if kind in _NUMBERS else 0
    name, table = field.name.encode(), field.table.encode()
    return b"".join([
        *(_text(part) for part in (b"def", b"", table, table, name, name)), b"\x0c",
        struct.pack("<HIBHB", _UTF8MB4 if text else _BINARY, length, kind, flags, decimals),
        b"\0\0", b"\xfb" if listed else b"",
    ])  # fmt: skip


def row(values: Iterable[Any]) -> bytes:
    """Write a row of a text result."""
    return b"".join(b"\xfb" if value is None else _text(_shown(value)) for value in values)


def _shown(value: Any) -> bytes:
    match value:
        case str():
            return value.encode("utf-8", "replace")
        case bool():
            return b"1" if value else b"0"
        case int() | Decimal():
            return str(value).encode()
        case float():
            return repr(value).encode()
        case datetime():
            return value.isoformat(" ").encode()
        case date() | time():
            return value.isoformat().encode()
        case bytes():
            return value
        case timedelta():
            return str(value).encode()
    return str(value).encode("utf-8", "replace")


def _number(value: int) -> bytes:
    if value < 0xFB:
        return bytes([value])
    for mark, size in ((b"\xfc", 2), (b"\xfd", 3)):
        if value < 1 << (8 * size):
            return mark + value.to_bytes(size, "little")
    return b"\xfe" + value.to_bytes(8, "little")


def _text(value: bytes) -> bytes:
    return _number(len(value)) + value

"""The MySQL protocol's server: a thread for each connection, read-only queries."""

from __future__ import annotations

import itertools
import re
import secrets
import socketserver
import string
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, ClassVar, Final, cast

import duckdb

from pacsless.columns import duckdb_type
from pacsless.warehouse import packets
from pacsless.warehouse.catalog import VERSION, Result, Session, answer, database_named
from pacsless.warehouse.dialect import SqlError, translate, unsupported
from pacsless.warehouse.listener import Listener
from pacsless.warehouse.packets import Field, Wire
from pacsless.warehouse.store import Store

_QUIT, _INIT_DB, _QUERY, _FIELD_LIST, _STATISTICS = 0x01, 0x02, 0x03, 0x04, 0x09
_PING, _PREPARE, _SET_OPTION, _RESET = 0x0E, 0x16, 0x1B, 0x1F
_COMMENT: Final = re.compile(
    r"\A(?:\s+|/\*.*?\*/|--[ \t][^\n]*(?:\n|\Z)|#[^\n]*(?:\n|\Z))", re.DOTALL
)
_KILL: Final = re.compile(r"KILL\s+(?:QUERY\s+|CONNECTION\s+)?(\d+)", re.IGNORECASE)
_LETTERS: Final = string.ascii_letters + string.digits


class Server(Listener, socketserver.TCPServer):
    """Listens; knows the running queries so that one session may stop another's."""

    def __init__(
        self, address: tuple[str, int], store: Store, user: str, password: str, limit: int = 128
    ) -> None:
        super().__init__(address, Connection)
        self.store = store
        self.user = user
        self.password = password
        self.places = threading.Semaphore(limit)
        self.numbers = itertools.count(1)
        self.cursors: dict[int, duckdb.DuckDBPyConnection] = {}

    def disconnect(self) -> None:
        """Stop the queries, end the sessions."""
        for cursor in list(self.cursors.values()):
            cursor.interrupt()
        super().disconnect()


class Connection(socketserver.StreamRequestHandler):
    """One client, from greeting to farewell."""

    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    server: Server
    login_seconds: ClassVar[float] = 10

    def handle(self) -> None:
        """Greet, check the password, answer commands."""
        wire = Wire(cast(BinaryIO, self.rfile), cast(BinaryIO, self.wfile))
        if not self.server.places.acquire(blocking=False):
            wire.send(packets.error(1040, "08004", "Too many connections"))
            wire.flush()
            return
        number = next(self.server.numbers)
        try:
            self.connection.settimeout(self.login_seconds)
            session = self._login(wire, number)
            if session is None:
                return
            self.connection.settimeout(None)
            with self.server.store.cursor() as cursor:
                self.server.cursors[number] = cursor
                while self._command(wire, session, cursor):
                    wire.flush()
        finally:
            self.server.cursors.pop(number, None)
            self.server.places.release()

    def _login(self, wire: Wire, number: int) -> Session | None:
        # Never a zero byte: clients take the scramble for a C string.
        scramble = "".join(secrets.choice(_LETTERS) for _ in range(20)).encode()
        wire.send(packets.handshake(VERSION, number, scramble))
        wire.flush()
        login = packets.read_login(wire.receive())
        proof = login.proof
        if login.plugin not in ("", packets.PLUGIN):
            wire.send(packets.switch(scramble))
            wire.flush()
            proof = wire.receive()
        try:
            known = login.user == self.server.user
            if not packets.proves(proof, self.server.password, scramble) or not known:
                raise SqlError(f"Access denied for user '{login.user[:64]}'", 1045, "28000")
            session = Session(login.user, number)
            if login.database:
                session.database = database_named(login.database)
        except SqlError as refusal:
            wire.send(packets.error(refusal.code, refusal.state, str(refusal)))
            wire.flush()
            return None
        wire.send(packets.ok())
        wire.flush()
        return session

    def _command(self, wire: Wire, session: Session, cursor: duckdb.DuckDBPyConnection) -> bool:
        """Answer one command; False if it was the last."""
        payload = wire.receive()
        command, argument = payload[:1], payload[1:]
        try:
            match command[0] if command else 0:
                case n if n == _QUIT:
                    return False
                case n if n in (_PING, _SET_OPTION, _RESET):
                    if n == _RESET:
                        session.variables = Session(session.user, 0).variables
                    wire.send(packets.end() if n == _SET_OPTION else packets.ok())
                case n if n == _STATISTICS:
                    wire.send(b"Pacsless warehouse")
                case n if n == _INIT_DB:
                    session.database = database_named(argument.decode("utf-8", "replace"))
                    wire.send(packets.ok())
                case n if n == _FIELD_LIST:
                    self._fields(wire, argument)
                case n if n == _QUERY:
                    self._query(wire, session, cursor, argument)
                case n if n == _PREPARE:
                    raise SqlError("prepared statements are not in this subset of Doris", 1295)
                case _:
                    raise SqlError("unknown command", 1047, "08S01")
        except SqlError as refusal:
            wire.send(packets.error(refusal.code, refusal.state, str(refusal)))
        except RecursionError:
            wire.send(
                packets.error(1105, "HY000", "errCode = 2, detailMessage = nested too deeply")
            )
        except duckdb.InterruptException:
            wire.send(packets.error(1317, "70100", "Query execution was interrupted"))
        except duckdb.Error as error:
            text = str(error).split("\n\nLINE", 1)[0][:1000]
            wire.send(packets.error(1105, "HY000", f"errCode = 2, detailMessage = {text}"))
        return True

    def _query(
        self, wire: Wire, session: Session, cursor: duckdb.DuckDBPyConnection, argument: bytes
    ) -> None:
        statement = _bare(argument.decode("utf-8", "replace"))
        if not statement:
            raise SqlError("Query was empty", 1065, "42000")
        if found := _KILL.fullmatch(statement):
            victim = self.server.cursors.get(int(found[1]))
            if victim is None:
                raise SqlError(f"Unknown thread id: {found[1][:20]}", 1094)
            victim.interrupt()
            wire.send(packets.ok())
            return
        result = answer(statement, session, self.server.store.tables)
        if result is None:
            sql = translate(statement, self.server.store.tables, session.database, session.value)
            cursor.execute(sql)
            fields = [Field(one[0], str(one[1])) for one in cursor.description or ()]
            for one in fields:
                if one.type == "TIMESTAMP WITH TIME ZONE":
                    raise unsupported("a time with a time zone as a result")
            result = Result(fields, _fetched(cursor))
        _send(wire, result.fields, result.rows)

    def _fields(self, wire: Wire, argument: bytes) -> None:
        name = argument.split(b"\0", 1)[0].decode("utf-8", "replace")
        table = self.server.store.tables.get(name)
        if table is None:
            raise SqlError(f"Unknown table '{name[:64]}'", 1146, "42S02")
        for column in table.columns:
            field = Field(column.name, duckdb_type(column), table.name)
            wire.send(packets.definition(field, listed=True))
        wire.send(packets.end())


def _bare(statement: str) -> str:
    """Strip comments before a statement, and the semicolon after it."""
    while found := _COMMENT.match(statement):
        statement = statement[found.end() :]
    return statement.strip().rstrip(";").strip()


def _fetched(cursor: duckdb.DuckDBPyConnection) -> Iterator[Sequence[Any]]:
    while rows := cursor.fetchmany(1000):
        yield from rows


def _send(wire: Wire, fields: Sequence[Field], rows: Iterable[Sequence[Any]]) -> None:
    if not fields:
        wire.send(packets.ok())
        return
    wire.send(packets.count(fields))
    for field in fields:
        wire.send(packets.definition(field))
    wire.send(packets.end())
    for one in rows:
        wire.send(packets.row(one))
    wire.send(packets.end())

"""One connection, and its errors as ours.

What goes wrong never quotes a statement, a parameter or the server's words,
which may hold patient data: the SQLSTATE (PostgreSQL manual, Appendix A) says
enough.
"""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, ClassVar, Final

from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import PreparedStatement

from pacsless.errors import PacslessError, Unavailable, Unprocessable
from pacsless.postgres.address import Address
from pacsless.reach import reason

Row = list[Any]

_PREPARED: Final = 64
_RETRIED: Final = {"40001", "40P01"}
_CANCELED: Final = "57014"
# Insufficient resources, locks, read-only standby, wrong password or database,
# not migrated yet (a table, column, function or constraint is missing: a new version
# starts beside its migration), broken: all end without us.
_DOWN: Final = re.compile(r"53...|55P03|25006|28...|3D000|42P01|42703|42883|42P10|XX\d{3}|58...")
_DATA: Final = re.compile(r"22...|54...")
# Connection exceptions and shut down; and prepared statements that a migration
# or a pooler between has taken away: a new connection prepares them anew.
_GONE: Final = re.compile(r"08...|57P..|0A000|26000")


class DatabaseFailed(PacslessError):
    """PostgreSQL refused a statement we should not have sent."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR


class TimedOut(Unavailable):
    """A statement took longer than it may."""


class Conflict(Exception):
    """Serialization failure or deadlock: the transaction is to be run again."""


class Lost(Exception):
    """The connection is gone, or never came about; the text says why."""


class Connection:
    """A connection with its prepared statements: parsed once, one round trip each."""

    def __init__(self, address: Address, *, patient: bool = False) -> None:
        with _translated():
            self._wire = address.connect(patient=patient)
        self._prepared: OrderedDict[str, PreparedStatement] = OrderedDict()
        self.in_step = True
        """Whether the last reply was read to its end; without that the next
        statement would read what is left of it."""

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        self.in_step = False
        with _translated():
            try:
                yield
            except DatabaseError:
                self.in_step = True  # an error is a whole reply
                raise
        self.in_step = True

    def run(self, sql: str, parameters: dict[str, object]) -> list[Row]:
        with self._step():
            statement = self._prepared.get(sql)
            if statement is None:
                statement = self._prepared[sql] = self._wire.prepare(sql)
                if len(self._prepared) > _PREPARED:
                    self._prepared.popitem(last=False)[1].close()
            else:
                self._prepared.move_to_end(sql)
            return statement.run(**parameters) or []

    def script(self, sql: str) -> list[Row]:
        """Run statements without parameters by the simple protocol."""
        with self._step():
            return self._wire.run(sql) or []

    def close(self) -> None:
        with contextlib.suppress(InterfaceError, OSError):
            self._wire.close()


def down(address: Address, error: Lost) -> Unavailable:
    """Say that nobody answers there, and why."""
    told = f"PostgreSQL at {address.host}:{address.port} does not answer"
    return Unavailable("postgres", f"{told}: {error} (PACSLESS_POSTGRES)")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn pg8000's errors into ours. They quote rows, so none of them is kept as a cause."""
    try:
        yield
    except DatabaseError as error:
        told = error.args[0] if error.args else None
        state = str(told.get("C", "")) if isinstance(told, dict) else ""
        if state in _RETRIED:
            raise Conflict from None
        if _GONE.fullmatch(state):
            raise Lost(_gone(state)) from None
        if state == _CANCELED:
            raise TimedOut("postgres", "PostgreSQL took too long for a statement") from None
        if _DOWN.fullmatch(state):
            raise Unavailable("postgres", f"PostgreSQL cannot answer now: {_hint(state)}") from None
        if _DATA.fullmatch(state):
            raise Unprocessable(
                "postgres", f"PostgreSQL cannot store a value (SQLSTATE {state})"
            ) from None
        raise DatabaseFailed(
            "postgres", f"PostgreSQL refused a statement (SQLSTATE {state})"
        ) from None
    except InterfaceError as error:
        raise Lost(_interface(str(error))) from None
    except OSError as error:
        raise Lost(reason(error)) from None


def _gone(state: str) -> str:
    return "it starts or stops just now" if state == "57P03" else f"SQLSTATE {state}"


def _interface(text: str) -> str:
    if text == "Server refuses SSL":
        return "it speaks no TLS, which sslmode asks for"
    if text.startswith("server requesting"):
        return "it asks for a password, and PACSLESS_POSTGRES has none"
    return "the connection broke off"


def _hint(state: str) -> str:
    match state[:2]:
        case "28":
            return f"it refuses user or password, check PACSLESS_POSTGRES (SQLSTATE {state})"
        case "3D":
            return f"there is no such database, check PACSLESS_POSTGRES (SQLSTATE {state})"
        case "42":
            return "a table or a column is missing, run `pacsless migrate`"
        case _:
            return f"SQLSTATE {state}"

"""Reads the lines of a Stream Load as strictly as Doris does in strict mode.

A line is refused, with the column and the reason but never the value, if it is no
JSON object, lacks a NOT NULL column, or holds a value its column cannot take.
Stricter than Doris in three points, so that mistakes show here and not there: a
name that is no column is refused and not ignored, a number is no string, and a
missing NOT NULL column is not filled with its default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from typing import Any, Final

from pacsless import strict_json
from pacsless.columns import Column, Table

_INTEGERS: Final = {"TINYINT": 7, "SMALLINT": 15, "INT": 31, "BIGINT": 63, "LARGEINT": 127}
# string_type_length_soft_limit_bytes and its namesake for JSON, at Doris's defaults.
_SOFT_LIMIT: Final = 1_048_576
_DATE: Final = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})", re.ASCII)
_BOOLEANS: Final = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}

Convert = Callable[[Any], Any]


class Refused(Exception):
    """Why a line cannot be loaded, without its values."""

    def __init__(self, reason: str, *, convertible: bool = False) -> None:
        super().__init__(reason)
        self.convertible = convertible


@dataclass(slots=True)
class Batch:
    """Lines read.

    Parameters
    ----------
    rows
        Values of the accepted lines, in the table's order of columns.
    total
        Lines there were.
    refused
        Number of the line and reason, of those refused.
    """

    rows: list[list[Any]] = field(default_factory=list)
    total: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


def read(lines: Iterable[bytes], table: Table, *, strict: bool, timezone: tzinfo = UTC) -> Batch:
    """Read the lines of a load.

    Parameters
    ----------
    lines
        One JSON object each; blank ones are skipped.
    table
        Where they go.
    strict
        ``strict_mode``: refuse what cannot be converted. Otherwise it becomes NULL
        where the column allows, as Doris does by default.
    timezone
        Zone that times with an offset are converted to.
    """
    converters = [(column, _converter(column, timezone)) for column in table.columns]
    names = {column.name for column in table.columns}
    batch = Batch()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        batch.total += 1
        try:
            batch.rows.append(_row(line, converters, names, strict))
        except Refused as refusal:
            batch.refused.append((number, str(refusal)))
    return batch


def _row(
    line: bytes, converters: list[tuple[Column, Convert]], names: set[str], strict: bool
) -> list[Any]:
    try:
        found = strict_json.loads(line)
    except (ValueError, RecursionError):
        raise Refused("not a line of JSON") from None
    if not isinstance(found, dict):
        raise Refused("not a JSON object")
    if unknown := found.keys() - names:
        raise Refused(f"{len(unknown)} names that are no column of the table")
    row = []
    for column, convert in converters:
        value = found.get(column.name)
        if value is not None:
            try:
                value = convert(value)
            except Refused as refusal:
                if strict or not refusal.convertible or not column.nullable:
                    raise Refused(f"column {column.name}: {refusal}") from None
                value = None
        if value is None and not column.nullable:
            raise Refused(f"column {column.name} is NOT NULL")
        row.append(value)
    return row


def _converter(column: Column, timezone: tzinfo) -> Convert:
    kind = column.base_type
    if kind in _INTEGERS:
        return _integer(_INTEGERS[kind])
    match kind:
        case "VARCHAR":
            return _text(column.length or 1)
        case "STRING":
            return _text(_SOFT_LIMIT)
        case "DATETIME":
            return lambda value: _datetime(value, timezone)
    return {"DATE": _date, "BOOLEAN": _boolean, "DOUBLE": _double, "JSON": _document}[kind]


def _text(limit: int) -> Convert:
    def convert(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused("not a string", convertible=True)
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise Refused("not Unicode text: a lone surrogate") from None
        if size > limit:
            # Refused in every mode: Doris does not cut values either.
            raise Refused(f"longer than {limit} bytes of UTF-8")
        return value

    return convert


def _integer(bits: int) -> Convert:
    def convert(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,39}", value, re.ASCII):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refused("not a whole number", convertible=True)
        if not -(2**bits) <= value < 2**bits:
            raise Refused(f"beyond {bits + 1} bits", convertible=True)
        return value

    return convert


def _double(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise Refused("not a number", convertible=True) from None
    if not math.isfinite(number):
        raise Refused("not a finite number", convertible=True)
    return number


def _boolean(value: Any) -> bool:
    try:
        return _BOOLEANS[value]
    except (KeyError, TypeError):
        raise Refused("not a Boolean", convertible=True) from None


def _date(value: Any) -> date:
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    try:
        if found is None:
            raise ValueError
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        raise Refused("not a date, YYYY-MM-DD", convertible=True) from None


def _datetime(value: Any, timezone: tzinfo) -> datetime:
    try:
        if not isinstance(value, str):
            raise ValueError
        found = datetime.fromisoformat(value)
        return found if found.tzinfo is None else found.astimezone(timezone).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise Refused("not a time, YYYY-MM-DD hh:mm:ss.ffffff", convertible=True) from None


def _document(value: Any) -> str:
    if isinstance(value, str):
        # As text, so that Doris's reading of strings for JSON columns is kept.
        try:
            strict_json.loads(value.encode())
        except (ValueError, RecursionError):
            raise Refused("not a JSON document", convertible=True) from None
        text = value
    else:
        text = strict_json.dumps(value).decode()
    return str(_text(_SOFT_LIMIT)(text))

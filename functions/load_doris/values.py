"""From an event's values to a column's: pure.

Lenient where the data set is: a value its column cannot take becomes NULL or is
cut at a character, and stays whole in ``dicom_json``. Exact where we are: keys,
sequence values and times of events are taken as they are or the event is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from pacsless.columns import Column, Table
from pacsless.errors import Unprocessable
from pacsless.events import Event
from pacsless.strict_json import dumps

Row = dict[str, Any]

# jsonb_type_length_soft_limit_bytes, Doris's default limit for one JSON value.
_DOCUMENT_LIMIT: Final = 1_048_576


def attributes(table: Table, values: Mapping[str, Any]) -> Row:
    """The columns that hold attributes, from values by keyword."""
    return {
        column.name: _value(column, values.get(column.keyword))
        for column in table.columns
        if column.keyword
    }


def _value(column: Column, value: Any) -> Any:
    several = value if isinstance(value, list) else [value]
    if not several or all(one is None for one in several):
        return None
    match column.base_type:
        case "VARCHAR":
            joined = "\\".join("" if one is None else _plain(one) for one in several)
            return cut(joined, column.length or 1) or None
        case "DATE":
            return _date(_plain(several[0]))
        case "INT":
            number = _number(several[0])
            whole = number is not None and number == int(number) and abs(number) < 2**31
            return int(number) if number is not None and whole else None
    return _number(several[0])


def _plain(value: Any) -> str:
    """A value as text; a person's name with its groups as in PS3.5 §6.2."""
    if isinstance(value, dict):
        groups = (value.get(one) for one in ("Alphabetic", "Ideographic", "Phonetic"))
        return "=".join(one if isinstance(one, str) else "" for one in groups).rstrip("=")
    return str(value)


def _number(value: Any) -> float | int | None:
    if isinstance(value, str):
        # DS and IS of a data set as it came: several values, padding.
        value = value.split("\\")[0].strip()
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _date(text: str) -> str | None:
    digits = text.strip().replace(".", "").replace("-", "")
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat()
    except ValueError:
        return None


def cut(text: str, limit: int) -> str:
    """Text of at most so many bytes of UTF-8, whole characters."""
    if len(text) <= limit and text.isascii() and "\0" not in text:
        return text  # almost every one
    encoded = text.replace("\0", "").encode("utf-8", "replace")
    return encoded[:limit].decode("utf-8", "ignore")


def texts(table: Table, event: Event, names: str) -> Row:
    """Fields of an event that are columns of the same name, cut to fit."""
    return {name: cut(getattr(event, name), table.column(name).length or 1)
            for name in names.split()}  # fmt: skip


def document(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """DICOM JSON, unless it is above Doris's limit for a JSON value."""
    return found if len(dumps(found)) <= _DOCUMENT_LIMIT else None


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unprocessable("schema", "an event's time is not ISO 8601") from None


def time(text: str) -> str:
    """An event's time as Doris takes it, in UTC."""
    return _moment(text).replace(tzinfo=None).isoformat(" ", "microseconds")


def ingest_date(text: str) -> str:
    """The date an instance was first ingested; it partitions, so it must be right."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise Unprocessable("schema", "CreatedDate is not YYYY-MM-DD") from None


def microseconds(text: str) -> int:
    """An event's time as microseconds since 1970."""
    moment = _moment(text)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond

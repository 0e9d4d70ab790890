"""JSON (RFC 8259) as it travels between the parts: compact, UTF-8, of Unicode text and numbers.

The library is a quarter of the standard one's time for DICOM JSON, which is written
or read half a dozen times on an instance's way. It refuses what the standard one
lets pass and RFC 8259 does not have, and some things it merely will not do, which
are left to the standard one: deep nesting, half a surrogate pair.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

import orjson

__all__ = ["dumps", "loads"]

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dumps(value: Any) -> bytes:
    """Write a value.

    Parameters
    ----------
    value
        Dicts with names that are strings, lists, strings, finite numbers, Booleans
        and None. Half a surrogate pair is no Unicode text and becomes ``?``.

    Raises
    ------
    TypeError
        If it holds something else.
    RecursionError
        If it is nested too deep for the interpreter.

    Examples
    --------
    >>> dumps({"vr": "LO", "Value": ["Müller", 1.0, None]}).decode()
    '{"vr":"LO","Value":["Müller",1.0,null]}'
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return _ENCODER.encode(value).encode("utf-8", "replace")


def loads(text: bytes) -> Any:
    """Read a value.

    Raises
    ------
    ValueError
        If it is not JSON in UTF-8. Unlike the standard library's, neither NaN nor a
        number beyond a double's range is JSON, nor is any other encoding than UTF-8.
    RecursionError
        If it is nested too deep for the interpreter.

    Examples
    --------
    >>> loads(b'{"vr": "US", "Value": [512]}')
    {'vr': 'US', 'Value': [512]}
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text.decode(), parse_constant=_refuse, parse_float=_finite)


def _refuse(_: str) -> NoReturn:
    raise ValueError("neither NaN nor an infinity is JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is beyond the range of a double")
    return number

"""JSON (RFC 8259) as it travels between the parts: compact, UTF-8, of Unicode text and numbers.

DICOM JSON is written or read half a dozen times on an instance's way, and the
library takes a tenth of the standard one's time to write it. What it merely will
not do is left to the standard one: deep nesting, half a surrogate pair.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

import orjson

__all__ = ["dumps", "loads"]

_ONLY_JSON: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dumps(value: Any) -> bytes:
    """Write a value.

    Parameters
    ----------
    value
        Dicts with names that are strings, lists, strings, finite numbers, Booleans
        and None. Half a surrogate pair is no Unicode text and becomes ``?``. Whoever
        has numbers that may be none says so otherwise: NaN and infinities are null, or
        a ValueError beside what is left to the standard library.

    Raises
    ------
    TypeError
        If it holds what neither library writes, such as bytes, a time or a set.
    ValueError
        See there.
    RecursionError
        If it is nested too deep for the interpreter.

    Examples
    --------
    >>> dumps({"vr": "LO", "Value": ["Müller", 1.0, None]}).decode()
    '{"vr":"LO","Value":["Müller",1.0,null]}'
    """
    try:
        return orjson.dumps(value, option=_ONLY_JSON)
    except TypeError:
        return _ENCODER.encode(value).encode("utf-8", "replace")


def loads(text: bytes) -> Any:
    """Read a value.

    Raises
    ------
    ValueError
        If it is not JSON in UTF-8, as NaN is not; or if a number with a fraction or an
        exponent is beyond a double's range. Integers are exact within 64 bits.
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

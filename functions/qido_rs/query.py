"""A search as the client asked for it: query parameters to `Query`, pure.

What a client must not get silently is a filter that was not applied. Parameters
the standard defines and we do not support are named in a Warning header, as
PS3.18 §8.3.4.2 to §8.3.4.6 say; so is anything else that is ignored: PS3.18 §8.3
has servers ignore unknown parameters, PS3.4 §C.2.2.1.3 optional keys that are
not supported. A value that is malformed for its attribute is refused with 400.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from functions.qido_rs.attributes import (
    IF_KNOWN,
    KEYS,
    REQUIRED,
    Key,
    Kind,
    Level,
    attribute_path,
    keyword_of,
)
from pacsless.dicom import keys
from pacsless.errors import BadRequest

MOST_WITHIN_STUDY: Final = 10_000
"""Results of one answer below a study: viewers ask for all its series without paging."""
MOST_ANYWHERE: Final = 1_000
"""Results of one answer of a search over everything (PS3.18 §8.3.4.4.1, maxResults)."""
_LARGEST_OFFSET: Final = 10_000_000
_MOST_UIDS: Final = 1_000
_LONGEST_VALUE: Final = 64 * _MOST_UIDS + _MOST_UIDS

_WILD: Final = re.compile(r"[*?]")
_UNSIGNED: Final = re.compile(r"\d{1,18}", re.ASCII)
_UIDS: Final = re.compile(r"[0-9.]{1,64}", re.ASCII)
# Extensions of PS3.18 that change what matches; without them it is as if "false".
UNSUPPORTED: Final = {
    "fuzzymatching": "The fuzzymatching parameter is not supported. Only literal matching has "
    "been performed.",
    "emptyvaluematching": "The emptyvaluematching parameter is not supported. Empty Value "
    "Matching has not been performed.",
    "multiplevaluematching": "The multiplevaluematching parameter is not supported. Multiple "
    "Value Matching has not been performed.",
}
_ELSEWHERE: Final = frozenset({"accept", "charset"})
"""Parameters of content negotiation (PS3.18 §8.3.3)."""


@dataclass(frozen=True, slots=True)
class Match:
    """One attribute and what its value must be; exactly one of the kinds is set."""

    key: Key
    any_of: tuple[str, ...] = ()
    """One of these, literally."""
    like: str = ""
    """This pattern, with ``*`` and ``?``."""
    low: str = ""
    """From here, inclusive; both ends empty means no range."""
    high: str = ""
    """To here, inclusive."""
    groups: tuple[str, ...] = ()
    """Patterns of a person name's component groups; a single one may match any group."""


@dataclass(frozen=True, slots=True)
class Query:
    """A search."""

    level: Level
    study: str = ""
    """Study Instance UID of the target resource, if it names one."""
    series: str = ""
    matches: tuple[Match, ...] = ()
    shown: frozenset[str] = frozenset()
    """Tags the answer holds beyond those every answer does."""
    everything: bool = False
    """Whether ``includefield=all``."""
    limit: int = MOST_ANYWHERE
    offset: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Draft:
    matches: list[Match] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    everything: bool = False
    limit: int | None = None
    offset: int = 0


def parse(
    level: Level, parameters: Iterable[tuple[str, str]], study: str = "", series: str = ""
) -> Query:
    """Read a search.

    Parameters
    ----------
    level
        What is searched for.
    parameters
        Names and values of the query component, decoded, in order.
    study, series
        UIDs the target resource names.

    Raises
    ------
    BadRequest
        If a value is malformed. The message names the parameter, never the value.
    """
    draft = _Draft()
    for name, value in parameters:
        if len(value) > _LONGEST_VALUE or not _is_text(value):
            raise BadRequest("query", "a parameter's value is too long or not text")
        _read(draft, level, name, value)
    most = MOST_WITHIN_STUDY if study else MOST_ANYWHERE
    return Query(
        level,
        study,
        series,
        tuple(draft.matches),
        frozenset(draft.shown | set(REQUIRED[level]) | set(IF_KNOWN[level])),
        draft.everything,
        most if draft.limit is None else min(draft.limit, most),
        draft.offset,
        tuple(dict.fromkeys(draft.warnings)),
    )


def _read(draft: _Draft, level: Level, name: str, value: str) -> None:
    match name:
        case "limit":
            draft.limit = _unsigned(name, value)
        case "offset":
            draft.offset = _unsigned(name, value)
            if draft.offset > _LARGEST_OFFSET:
                raise BadRequest("query", f"offset is at most {_LARGEST_OFFSET}")
        case "includefield":
            for one in value.split(","):
                _include(draft, one.strip())
        case _ if name in UNSUPPORTED:
            if value not in ("true", "false"):
                raise BadRequest("query", f"{name} is true or false")
            if value == "true":
                draft.warnings.append(UNSUPPORTED[name])
        case _ if name in _ELSEWHERE:
            return
        case _:
            _attribute(draft, level, name, value)


def _include(draft: _Draft, name: str) -> None:
    if name == "all":
        draft.everything = True
    elif path := attribute_path(name):
        draft.shown.add(path[:8])  # an item's attribute comes with its sequence
    elif name:
        draft.warnings.append("An includefield value names no attribute and was ignored.")


def _attribute(draft: _Draft, level: Level, name: str, value: str) -> None:
    path = attribute_path(name)
    if path is None:
        draft.warnings.append("A query parameter is unknown and was ignored.")
        return
    draft.shown.add(path[:8])
    if not value.strip("* "):
        return  # universal matching (PS3.4 §C.2.2.2.3)
    key = KEYS.get(path)
    if key is None or key.level.depth > level.depth:
        draft.warnings.append(
            f"Matching on {keyword_of(path[-8:])} is not supported here and was not performed."
        )
        return
    draft.matches.append(_match(key, value))


def _match(key: Key, value: str) -> Match:
    match key.kind:
        case Kind.UID:
            return Match(key, any_of=_uids(key, value))
        case Kind.CODE | Kind.MODALITIES:
            # Neither character can stand in a CS, and both are how clients
            # write several; one of them has to match.
            several = [one.strip() for one in re.split(r"[,\\]", value) if one.strip()]
            if len(several) == 1 and _WILD.search(several[0]):
                return Match(key, like=several[0])
            return Match(key, any_of=tuple(several))
        case Kind.NUMBER:
            if keys.integer_key(value) is None:
                raise BadRequest("query", f"{key.keyword} is a whole number")
            return Match(key, any_of=(str(keys.integer_key(value)),))
        case Kind.NAME:
            return Match(key, groups=tuple(keys.name_key(one) for one in value.split("=")[:3]))
        case Kind.DATE | Kind.TIME | Kind.STORED_DATE:
            return _range(key, value)
        case _:
            text = value.strip()
            if _WILD.search(text):
                return Match(key, like=text)
            return Match(key, any_of=(keys.text_key(text),))


def _range(key: Key, value: str) -> Match:
    """Date and time ranges (PS3.4 §C.2.2.2.5); a single value is a range of its precision."""
    first, dash, last = value.strip().partition("-")
    if not dash:
        last = first
    if key.keyword.endswith("Time"):
        low = keys.time_key(first) if first else ""
        high = keys.time_key(last, end=True) if last else ""
    else:
        low, high = _day(first), _day(last)
    if low is None or high is None:
        raise BadRequest(
            "query", f"{key.keyword} is a value or a range, as in DICOM: A, A-B, A-, -B"
        )
    return Match(key, low=low, high=high)


def _day(value: str) -> str | None:
    if not value:
        return ""
    found = keys.date_key(value)
    return found.strftime("%Y%m%d") if found else None


def _uids(key: Key, value: str) -> tuple[str, ...]:
    found = tuple(one.strip() for one in re.split(r"[,\\]", value) if one.strip())
    if not found or not all(_UIDS.fullmatch(one) for one in found):
        raise BadRequest("query", f"{key.keyword} is a UID or a list of UIDs")
    if len(found) > _MOST_UIDS:
        raise BadRequest("query", f"{key.keyword} takes at most {_MOST_UIDS} UIDs")
    return found


def _unsigned(name: str, value: str) -> int:
    if not _UNSIGNED.fullmatch(value):
        raise BadRequest("query", f"{name} is a whole number, 0 or more")
    return int(value)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value

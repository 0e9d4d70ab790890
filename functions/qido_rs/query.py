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
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from functions.qido_rs.attributes import (
    IF_KNOWN,
    REQUIRED,
    TIMEZONE,
    Level,
    attribute_path,
    key_of,
    keyword_of,
)
from functions.qido_rs.values import Match, Semantics, matches_of
from pacsless.errors import BadRequest
from pacsless.statement import is_text

MOST_WITHIN_STUDY: Final = 10_000
"""Results of one answer below a study: viewers ask for all its series without paging."""
MOST_ANYWHERE: Final = 1_000
"""Results of one answer of a search over everything (PS3.18 §8.3.4.4.1, maxResults)."""
MOST_PARAMETERS: Final = 200
_LARGEST_OFFSET: Final = 10_000_000
_LONGEST_VALUE: Final = 65_000

_UNSIGNED: Final = re.compile(r"\d{1,18}", re.ASCII)
# A plus sign that is not percent-encoded arrives as a space.
_TIMEZONE: Final = re.compile(r"([+ -])(0\d|1[0-4])([0-5]\d)", re.ASCII)
SEMANTICS: Final = {
    "fuzzymatching": "fuzzy",
    "emptyvaluematching": "empty",
    "multiplevaluematching": "multiple",
}
"""Parameters that change what matches (PS3.18 §8.3.4), and the field of `Semantics` each is."""
_ELSEWHERE: Final = frozenset({"accept", "charset"})
"""Parameters of content negotiation (PS3.18 §8.3.3)."""


@dataclass(frozen=True, slots=True)
class Private:
    """A private data element that is asked for (PS3.5 §7.8.1)."""

    group: str
    """Four hexadecimal digits, as `block` and `element` have two."""
    block: str
    element: str
    creator: str = ""
    """Who reserved the block, whichever it is; empty to take the block as it is."""


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
    private: tuple[Private, ...] = ()
    everything: bool = False
    """Whether ``includefield=all``."""
    timezone: int | None = None
    """Minutes from UTC of the dates and times in it."""
    limit: int = MOST_ANYWHERE
    offset: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Draft:
    matches: list[Match] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)
    creators: dict[str, str] = field(default_factory=dict)
    """By the tag of the Private Creator element."""
    warnings: list[str] = field(default_factory=list)
    everything: bool = False
    timezone: int | None = None
    semantics: Semantics = field(default_factory=Semantics)
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
    given = list(islice(parameters, MOST_PARAMETERS + 1))
    if len(given) > MOST_PARAMETERS:
        raise BadRequest("query", f"a query has at most {MOST_PARAMETERS} parameters")
    draft = _Draft()
    attributes = []
    for name, value in given:
        if len(value) > _LONGEST_VALUE or not is_text(value):
            raise BadRequest("query", "a parameter's value is too long or not text")
        if not _option(draft, name, value):
            attributes.append((name, value))
    for name, value in attributes:
        _attribute(draft, level, name, value)
    most = MOST_WITHIN_STUDY if study else MOST_ANYWHERE
    return Query(
        level,
        study,
        series,
        tuple(draft.matches),
        frozenset(draft.shown | set(REQUIRED[level]) | set(IF_KNOWN[level])),
        _private(draft),
        draft.everything,
        draft.timezone,
        most if draft.limit is None else min(draft.limit, most),
        draft.offset,
        tuple(dict.fromkeys(draft.warnings)),
    )


def _option(draft: _Draft, name: str, value: str) -> bool:
    """Take what is no attribute; whether it was none."""
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
        case _ if name in SEMANTICS:
            if value not in ("true", "false"):
                raise BadRequest("query", f"{name} is true or false")
            draft.semantics = replace(draft.semantics, **{SEMANTICS[name]: value == "true"})
        case _ if attribute_path(name) == TIMEZONE:
            draft.shown.add(TIMEZONE)
            if value.strip("* "):
                draft.timezone = _minutes(value)
        case _:
            return name in _ELSEWHERE
    return True


def _minutes(value: str) -> int:
    found = _TIMEZONE.fullmatch(value)
    if not found:
        raise BadRequest("query", "TimezoneOffsetFromUTC is a sign and four digits, as +0100")
    minutes = int(found[2]) * 60 + int(found[3])
    return -minutes if found[1] == "-" else minutes


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
    if _is_creator(path):
        draft.creators[path] = value.strip()  # says whose an includefield is
        return
    draft.shown.add(path[:8])
    if not value.strip("* "):
        return  # universal matching (PS3.4 §C.2.2.2.3)
    key = key_of(path)
    if key is None or key.level.depth > level.depth:
        draft.warnings.append(
            f"Matching on {keyword_of(path[-8:])} is not supported here and was not performed."
        )
        return
    draft.matches.extend(matches_of(key, value, draft.semantics))


def _is_creator(tag: str) -> bool:
    """Whether it reserves a block of private elements: (gggg,0010) to (gggg,00FF)."""
    return len(tag) == 8 and int(tag[3], 16) % 2 == 1 and "0010" <= tag[4:] <= "00FF"


def _private(draft: _Draft) -> tuple[Private, ...]:
    return tuple(
        Private(tag[:4], tag[4:6], tag[6:], draft.creators.get(f"{tag[:4]}00{tag[4:6]}", ""))
        for tag in sorted(draft.shown)
        if int(tag[3], 16) % 2 == 1 and tag[4:6] >= "10"
    )


def _unsigned(name: str, value: str) -> int:
    if not _UNSIGNED.fullmatch(value):
        raise BadRequest("query", f"{name} is a whole number, 0 or more")
    return int(value)

"""What a value asks of its attribute: a matching key and its text to `Match`, pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from functions.qido_rs.attributes import Key, Kind
from pacsless.dicom import keys
from pacsless.errors import BadRequest
from pacsless.person_names import words_of

_MOST_UIDS: Final = 1_000
_MOST_WILD_CARDS: Final = 16
_MOST_WORDS: Final = 16
_LONGEST: Final = 4 * keys.KEY_LENGTH
"""Characters of a value that is no list of UIDs."""

_WILD: Final = re.compile(r"[*?]")
_UIDS: Final = re.compile(r"[0-9.]{1,64}", re.ASCII)
_EMPTY: Final = '""'


@dataclass(frozen=True, slots=True)
class Semantics:
    """How values are to be understood (PS3.18 §8.3.4.2, §8.3.4.5, §8.3.4.6)."""

    fuzzy: bool = False
    empty: bool = False
    multiple: bool = False


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
    form: str = ""
    """Which form of range it is, ``A-B``, ``A-`` or ``-B``; empty for a single value."""
    groups: tuple[str, ...] = ()
    """Patterns of a person name's component groups; a single one may match any group."""
    words: tuple[str, ...] = ()
    """Words of a person name of which each may match alone, for Fuzzy Matching."""
    empty: bool = False
    """No value."""


def matches_of(key: Key, value: str, semantics: Semantics) -> tuple[Match, ...]:
    """Read a value; several matches all have to be fulfilled.

    Raises
    ------
    BadRequest
        If the value is malformed for the attribute.
    """
    if semantics.empty and value.strip() == _EMPTY:
        return (Match(key, empty=True),)
    if semantics.multiple and key.multiple and "\\" in value:
        several = [one.strip() for one in value.split("\\") if one.strip()]
        if any(map(_WILD.search, several)):
            raise BadRequest("query", f"{key.keyword} takes no wild cards among several values")
        return tuple(_match(key, one, semantics) for one in several)
    return (_match(key, value, semantics),)


def _match(key: Key, value: str, semantics: Semantics) -> Match:
    if key.vr == "UI":
        return Match(key, any_of=_uids(key, value))
    if len(value) > _LONGEST:
        raise BadRequest("query", f"{key.keyword} takes at most {_LONGEST} characters")
    match key.kind:
        case Kind.CODE | Kind.MODALITIES:
            # Neither character can stand in a CS, and both are how clients
            # write several; one of them has to match.
            several = [one.strip() for one in re.split(r"[,\\]", value) if one.strip()]
            if len(several) == 1 and _WILD.search(several[0]):
                return Match(key, like=_pattern(key, several[0]))
            return Match(key, any_of=tuple(several))
        case Kind.NUMBER:
            if keys.integer_key(value) is None:
                raise BadRequest("query", f"{key.keyword} is a whole number")
            return Match(key, any_of=(str(keys.integer_key(value)),))
        case Kind.NAME:
            groups = tuple(keys.name_key(_pattern(key, one)) for one in value.split("=")[:3])
            return Match(key, groups=groups, words=_words(key, groups) if semantics.fuzzy else ())
        case Kind.SEQUENCE:
            raise BadRequest("query", f"{key.keyword} is matched by the attributes of its items")
        case _ if key.vr in ("DA", "TM"):
            return _range(key, value)
        case _:
            text = value.strip()
            if _WILD.search(text):
                return Match(key, like=_pattern(key, text))
            return Match(key, any_of=(keys.text_key(text),))


def _pattern(key: Key, text: str) -> str:
    """Bound what a pattern costs: each ``*`` may go through the rest of the text again."""
    text = re.sub(r"\*[*]+", "*", text)
    if len(_WILD.findall(re.sub(r"\?+", "?", text))) > _MOST_WILD_CARDS:
        raise BadRequest("query", f"{key.keyword} takes at most {_MOST_WILD_CARDS} wild cards")
    return text


def _words(key: Key, groups: tuple[str, ...]) -> tuple[str, ...]:
    words = words_of(groups)
    if len(words) > _MOST_WORDS:
        raise BadRequest("query", f"{key.keyword} takes at most {_MOST_WORDS} words")
    return words


def _range(key: Key, value: str) -> Match:
    """Date and time ranges (PS3.4 §C.2.2.2.5); a single value is a range of its precision."""
    first, dash, last = value.strip().partition("-")
    first, last = first.strip(), last.strip()
    form = dash and f"{first and 'A'}-{last and 'B'}"
    if not dash:
        last = first
    if key.vr == "TM":
        low = keys.time_key(first) if first else ""
        high = keys.time_key(last, end=True) if last else ""
    else:
        low, high = _day(first), _day(last)
    if low is None or high is None or form == "-":
        raise BadRequest(
            "query", f"{key.keyword} is a value or a range, as in DICOM: A, A-B, A-, -B"
        )
    return Match(key, low=low, high=high, form=form)


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

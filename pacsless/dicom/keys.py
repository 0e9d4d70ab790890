"""Values as the index compares them: extract_tags writes these, qido_rs asks for these."""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from typing import Final

KEY_LENGTH: Final = 256
"""Characters a search key is cut to: beyond any VR that is matched (PS3.5 Table
6.2-1), and small enough for a B-tree's row whatever a hostile file says."""

_DATE: Final = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})", re.ASCII)
_TIME: Final = re.compile(
    r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)(?:\.(\d{1,6}))?)?)?", re.ASCII
)
# Of Latin, Greek, Cyrillic, Hebrew and Arabic, where a name is the same without them;
# not those of kana and the Indic scripts, which make another syllable.
_MARKS: Final = re.compile(
    "[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u200b-\u200f]"
)
_LETTERS: Final = str.maketrans(
    dict(zip("øłđðħıىةکیٱ", "olddhiيهكيا", strict=True))
    | {"æ": "ae", "œ": "oe", "þ": "th"}
    | {chr(katakana): chr(katakana - 0x60) for katakana in range(0x30A1, 0x30F7)}
)
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)


def text_key(text: str) -> str:
    """Text without padding, cut; case stays, as PS3.4 §C.2.2.2.1 compares it.

    Examples
    --------
    >>> text_key(" A-1 ")
    'A-1'
    """
    return text.strip(" \0")[:KEY_LENGTH]


def name_key(group: str) -> str:
    """A component group of a person name, folded.

    PS3.4 §C.2.2.2.1 lets person names match regardless of case, accents and
    other variants of encoding: katakana and hiragana are one, as are the forms
    of Arabic letters. Trailing empty components mean nothing (PS3.5 §6.2.1).

    Examples
    --------
    >>> name_key("MÜLLER^Hans^^"), name_key("Mu\u0308ller^HANS"), name_key("ヤマダ^タロウ")
    ('muller^hans', 'muller^hans', 'やまだ^たろう')
    """
    if not group:
        return ""  # four of a study's six are
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", group).casefold())
    bare = _MARKS.sub("", unicodedata.normalize("NFD", folded))
    folded = unicodedata.normalize("NFC", bare).translate(_LETTERS)
    return " ".join(folded.replace("\0", "").split()).rstrip("^ ")[:KEY_LENGTH]


def date_key(value: str) -> date | None:
    """A DA as a date, with ACR-NEMA's dots too (PS3.5 Table 6.2-1); None if it is none.

    Examples
    --------
    >>> date_key("20240229"), date_key("1997.04.24"), date_key("20230229")
    (datetime.date(2024, 2, 29), datetime.date(1997, 4, 24), None)
    """
    found = _DATE.fullmatch(value.strip())
    if not found:
        return None
    try:
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return None


def time_key(value: str, *, end: bool = False) -> str | None:
    """A TM as ``HHMMSS.ffffff``, which compares as text; None if it is no time.

    Parameters
    ----------
    value
        A TM, perhaps with ACR-NEMA's colons.
    end
        Return the last instant it stands for instead of the first: PS3.5 lets
        trailing components be left out.

    Examples
    --------
    >>> time_key("1430"), time_key("1430", end=True), time_key("07:05:09.5")
    ('143000.000000', '143059.999999', '070509.500000')
    """
    found = _TIME.fullmatch(value.strip())
    if not found:
        return None
    hour, minute, second, fraction = found.groups()
    fill = ("59", "59", "9") if end else ("00", "00", "0")
    return f"{hour}{minute or fill[0]}{second or fill[1]}.{(fraction or '').ljust(6, fill[2])}"


def integer_key(value: object) -> int | None:
    """An IS as an integer; None if it is none.

    Examples
    --------
    >>> integer_key(7), integer_key(" 12 "), integer_key("1.5e3x"), integer_key(2.5)
    (7, 12, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e18 else None
    if isinstance(value, int):
        return value if abs(value) < 10**18 else None
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value.strip())  # which knows more white space than int does
    return None

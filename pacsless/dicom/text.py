"""Text of data sets: Specific Character Set (PS3.3 §C.12.1.1.2, PS3.5 §6.1) to `str`.

It never raises and never warns: what cannot be decoded is replaced, and what
no consumer can store (NUL, controls, lone surrogates) becomes U+FFFD. It is
not dropped, which could make two patients' identifiers equal.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

DEFAULT: Final = ""
"""No or default character set: ASCII, in practice also undeclared UTF-8 or Latin-1."""

_ESC: Final = b"\x1b"
# Python's own decoders of these want the escape sequences left in.
_STATEFUL: Final = frozenset({"iso2022_jp", "iso2022_jp_2"})
# Supersets that also decode what sloppy writers put in.
_WIDER: Final = {
    "iso8859": DEFAULT,
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "iso_ir_58": "gb18030",
    "GB18030": "gb18030",
    "euc_kr": "cp949",
    "UTF8": "utf-8",
}


def _plain(term: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", term.upper())


_ENCODINGS: Final[dict[str, str]] = {
    **{_plain(term): _WIDER.get(codec, codec) for term, codec in python_encoding.items()},
    "UTF8": "utf-8",
    "UNICODE": "utf-8",
    "GB2312": "gb18030",
    "ISO88591": "latin_1",
    "LATIN1": "latin_1",
}
_ESCAPES: Final = {code: _WIDER.get(codec, codec) for code, codec in CODES_TO_ENCODINGS.items()}
_FRAGMENTS: Final = re.compile(rb"[^\x1b]+|\x1b[^\x1b]*")
_DELIMITERS: Final = re.compile(rb"[\\\r\n\f\t]")
_NAME_DELIMITERS: Final = re.compile(rb"[\\\r\n\f\t^=]")
# TAB, LF, FF and CR are the control characters PS3.5 §6.1.3 allows.
_UNFIT: Final = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def encoding_of(specific_character_set: bytes) -> str:
    """Return the codec for text of (0008,0005), with usual misspellings understood.

    Code extensions need no list: an escape sequence names its set itself.
    """
    return _encoding_of(specific_character_set.split(b"\\", 1)[0][:32])


@lru_cache(maxsize=256)
def _encoding_of(first: bytes) -> str:
    term = _plain(first.decode("latin_1"))
    codec = _ENCODINGS.get(term)
    if codec is None and term.startswith("ISOIR"):
        codec = _ENCODINGS.get("ISO2022IR" + term[5:])
    return DEFAULT if codec is None else codec


def decode(value: bytes, encoding: str = DEFAULT, *, name: bool = False) -> str:
    """Return text as sent, padding included; ``name`` if it is a Person Name."""
    if _ESC in value:
        text = "".join(_fragment(part, encoding, name) for part in _FRAGMENTS.findall(value))
    elif value.isascii():
        text = value.decode("ascii")
    else:
        text = _lenient(value, encoding)
    return text if text.isprintable() else _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)


def _lenient(value: bytes, encoding: str) -> str:
    if encoding != DEFAULT:
        return value.decode(encoding, "replace")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin_1")


def _fragment(part: bytes, encoding: str, name: bool) -> str:
    if not part.startswith(_ESC):
        return _lenient(part, encoding)
    length = 4 if part[1:3] in (b"$(", b"$)") else 3
    designated = _ESCAPES.get(part[:length])
    if designated is None:
        return _lenient(part, encoding)
    if designated in _STATEFUL:
        return part.decode(designated, "replace")
    part = part[length:]
    # The initial set is back after a delimiter (PS3.5 §6.1.2.5.3).
    delimiter = (_NAME_DELIMITERS if name else _DELIMITERS).search(part)
    end = delimiter.start() if delimiter else len(part)
    return _lenient(part[:end], designated) + (_lenient(part[end:], encoding) if delimiter else "")

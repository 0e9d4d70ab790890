"""Which representation to send: the Accept header against what can be sent.

PS3.18 §8.7 as clients really write it: quoted and unquoted parameters,
``transfer-syntax=*``, any case. One pass over the header, so its length is all
that its reading costs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pacsless.errors import NotAcceptable

MULTIPART: Final = "multipart/related"
DICOM: Final = "application/dicom"
OCTET_STREAM: Final = "application/octet-stream"
ANY: Final = "*"

# PS3.18 Table 8.7.3-2 and the like: what a media type without a transfer-syntax
# parameter means. Only uncompressed bytes need the rule: they carry nothing that
# tells them from a codestream, so a client that names no syntax must not get one.
_DEFAULT_SYNTAX: Final = {OCTET_STREAM: "1.2.840.10008.1.2.1"}
_LOST_PLUS: Final = re.compile(r"(?<=dicom) (?=xml|json)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One element of an Accept header; names in lower case."""

    media_type: str
    part_type: str = ""
    """The ``type`` parameter of a multipart range."""
    transfer_syntax: str = ""
    """UID, ``*``, or empty if the client named none."""
    quality: float = 1.0


@dataclass(frozen=True, slots=True)
class Representation:
    """Something that can be sent."""

    media_type: str
    """Of a part, or of the whole body."""
    transfer_syntax: str = ""
    """Empty where the notion does not apply, as for JSON."""
    multipart: bool = False

    @property
    def content_type(self) -> str:
        """Content-Type of a part, spelt as viewers compare it: case-sensitively."""
        if not self.transfer_syntax:
            return self.media_type
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax}"

    @property
    def media_range(self) -> str:
        """How an Accept header asks for it."""
        if not self.multipart:
            return self.content_type
        syntax = f"; transfer-syntax={self.transfer_syntax}" if self.transfer_syntax else ""
        return f'{MULTIPART}; type="{self.media_type}"{syntax}'


def choose(
    accept: str | None, offers: Sequence[Representation], query: str | None = None
) -> Representation:
    """Choose what to send.

    Parameters
    ----------
    accept
        The Accept header; None or empty accepts anything.
    offers
        What there is, best first.
    query
        The ``accept`` query parameter, which goes before the header
        (PS3.18 §8.3.3.1): links cannot set headers.

    Raises
    ------
    NotAcceptable
        If nothing offered is accepted. The message says what is offered.
    """
    # In a query a "+" that is not percent-encoded is a space, and links have it bare.
    text = _LOST_PLUS.sub("+", query) if query else accept or "*/*"
    best = _best(text, tuple(offers))
    if best is None:
        raise NotAcceptable("not-acceptable", f"this can be sent as {_told(offers)}")
    return offers[best]


# A viewer asks for hundreds of frames with one header.
@lru_cache(maxsize=256)
def _best(text: str, offers: tuple[Representation, ...]) -> int | None:
    ranges = tuple(parse_accept(text))
    qualities = [_quality(offer, ranges) for offer in offers]
    highest = max(qualities, default=0.0)
    return qualities.index(highest) if highest else None


def _told(offers: Sequence[Representation]) -> str:
    return " or ".join(offer.media_range for offer in offers) or "nothing"


def _quality(offer: Representation, ranges: Sequence[MediaRange]) -> float:
    """Quality of the most specific range that matches (RFC 9110 §12.5.1)."""
    found = max(((_match(offer, one), one.quality) for one in ranges), default=(0, 0.0))
    return found[1] if found[0] else 0.0


def _match(offer: Representation, wanted: MediaRange) -> int:
    """How specifically a range matches an offer; 0 if it does not."""
    if offer.multipart:
        envelope = _covers(wanted.media_type, MULTIPART)
        part = _covers(wanted.part_type or "*/*", offer.media_type)
    else:
        envelope = _covers(wanted.media_type, offer.media_type)
        part = 1
    if not envelope or not part:
        return 0
    named = wanted.part_type if offer.multipart else wanted.media_type
    syntax = wanted.transfer_syntax or _DEFAULT_SYNTAX.get(named, ANY)
    if not offer.transfer_syntax or syntax == ANY:
        return envelope + part
    return envelope + part + 1 if syntax == offer.transfer_syntax else 0


def _covers(wanted: str, offered: str) -> int:
    """3 for the type itself, 2 for its ``major/*``, 1 for ``*/*``, 0 for another type."""
    if wanted == offered:
        return 3
    if wanted == "*/*":
        return 1
    return 2 if wanted == offered.partition("/")[0] + "/*" else 0


def parse_accept(header: str) -> Iterator[MediaRange]:
    """Read an Accept header; what is not a media range is passed over.

    Examples
    --------
    >>> list(parse_accept('multipart/related; type="application/dicom"; q=0.5'))
    ... # doctest: +NORMALIZE_WHITESPACE
    [MediaRange(media_type='multipart/related', part_type='application/dicom',
                transfer_syntax='', quality=0.5)]
    """
    for element in _split(header, ","):
        media_type, values = parse_media_type(element)
        if media_type.count("/") != 1 or len(media_type) < 3:
            continue
        yield MediaRange(
            media_type,
            values.get("type", "").lower(),
            values.get("transfer-syntax", ""),
            _weight(values.get("q", "1")),
        )


def parse_media_type(text: str) -> tuple[str, dict[str, str]]:
    """Read a media type and its parameters, whose names are in lower case.

    Examples
    --------
    >>> parse_media_type('Multipart/Related; type=application/dicom; boundary="a b"')
    ('multipart/related', {'type': 'application/dicom', 'boundary': 'a b'})
    """
    first, *fields = _split(text, ";")
    values = {}
    for field in fields:
        name, _, value = field.partition("=")
        values[name.strip().lower()] = _unquote(value.strip()).strip()
    return first.strip().lower(), values


def _split(text: str, separator: str) -> Iterator[str]:
    """Split at `separator` outside quoted strings (RFC 9110 §5.6.4)."""
    start, quoted, escaped = 0, False, False
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped = character == "\\"
            quoted = character != '"'
        elif character == '"':
            quoted = True
        elif character == separator:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    kept: list[str] = []
    escaped = False
    for character in value[1:-1]:
        if character == "\\" and not escaped:
            escaped = True
            continue
        kept.append(character)
        escaped = False
    return "".join(kept)


def _weight(text: str) -> float:
    """Read a q-value; what is none counts as 0, so that a typo never wins."""
    if not 1 <= len(text) <= 5 or text.strip("0123456789.") or text.count(".") > 1:
        return 0.0
    digits = text if text != "." else "0"
    return min(float(digits), 1.0)

"""The Native DICOM Model (PS3.19 §A.1), made of the DICOM JSON Model (PS3.18 Annex F)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

from pacsless.dicom.values import NAME_COMPONENTS, NAME_GROUPS

_BEGIN: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"'
    ' xml:space="preserve">'
)
_END: Final = "</NativeDicomModel>\n"
_CHUNK: Final = 1 << 16
# No reference can stand for these (XML 1.0 §2.2, §4.1); FF is text to DICOM (PS3.5 §6.1.3).
_UNFIT: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A parser makes a line feed of a bare one (XML 1.0 §2.11).
_CARRIAGE_RETURN: Final = {"\r": "&#13;"}


def to_native_model(attributes: Mapping[str, Any]) -> Iterator[bytes]:
    r"""Yield the XML document of a data set, in pieces.

    It says what the JSON says, value by value, but for two things XML 1.0 and
    the model have no place for: a character XML cannot carry is U+FFFD, and
    carets at the end of a person name's group are gone (PS3.5 §6.2.1.1 gives
    them no meaning).

    Parameters
    ----------
    attributes
        DICOM JSON, as `to_dicom_json` makes it, in the order of tags.

    Raises
    ------
    ValueError, TypeError, AttributeError, LookupError
        If it is not DICOM JSON.

    Examples
    --------
    >>> xml = b"".join(to_native_model({"00080060": {"vr": "CS", "Value": ["CT"]}}))
    >>> print(xml.decode().partition('xml:space="preserve">')[2])
    <DicomAttribute tag="00080060" vr="CS" keyword="Modality"><Value number="1">CT</Value></DicomAttribute></NativeDicomModel>
    <BLANKLINE>
    """  # noqa: E501 - it is one line
    waiting, size = [_BEGIN], 0
    for piece in _data_set(attributes):
        waiting.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    yield "".join([*waiting, _END]).encode()


def _data_set(attributes: Mapping[str, Any]) -> Iterator[str]:
    blocks = _private_blocks(attributes)
    for tag, attribute in attributes.items():
        vr = attribute["vr"]
        private = blocks.get(tag[:6])
        if private is None:
            start = _start(tag, vr)
        else:
            prefix, creator = private
            start = f"{_start(prefix + tag[6:], vr)} privateCreator={quoteattr(_fit(creator))}"
        yield from _attribute(start, vr, attribute)


def _private_blocks(attributes: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Private creators by the first six digits of their blocks, with those to write instead.

    A private tag is written gggg00ee: its creator says the rest, and the number of
    the block is an accident of the encoding. It stays where it is all that tells
    two elements apart, as of blocks of one creator in one group, which PS3.5 §7.8.1
    forbids and vendors write. Elements nobody reserved a block for, and the Private
    Creators themselves, have no creator and keep their tags.
    """
    found: dict[str, tuple[str, str]] = {}
    seen: set[tuple[str, str]] = set()
    for tag, attribute in attributes.items():
        if tag[4:6] != "00" or tag[6:] < "10" or not int(tag[:4], 16) & 1:
            continue
        creator = (attribute.get("Value") or [None])[0]
        if isinstance(creator, str):
            group, block = tag[:4], tag[:4] + tag[6:]
            found[block] = (block if (group, creator) in seen else f"{group}00", creator)
            seen.add((group, creator))
    return found


@lru_cache(maxsize=8192)
def _start(tag: str, vr: str) -> str:
    """Return a start tag as far as most attributes share it."""
    start = f"<DicomAttribute tag={quoteattr(tag)} vr={quoteattr(vr)}"
    # A private tag of block 00 looks like a creator's, and is in no dictionary either.
    keyword = keyword_for_tag(int(tag, 16))
    return f"{start} keyword={quoteattr(keyword)}" if keyword else start


def _attribute(start: str, vr: str, attribute: Mapping[str, Any]) -> Iterator[str]:
    if "BulkDataURI" in attribute:
        uri = quoteattr(_fit(attribute["BulkDataURI"]))
        yield f"{start}><BulkData uri={uri}/></DicomAttribute>"
    elif "InlineBinary" in attribute:
        inline = _text(attribute["InlineBinary"])
        yield f"{start}><InlineBinary>{inline}</InlineBinary></DicomAttribute>"
    elif not (found := attribute.get("Value")):
        yield f"{start}/>"
    elif vr == "SQ":
        yield f"{start}>"
        for number, item in enumerate(found, 1):
            yield f'<Item number="{number}">'
            yield from _data_set(item)
            yield "</Item>"
        yield "</DicomAttribute>"
    else:
        write = _person_name if vr == "PN" else _value
        values = "".join([write(number, value) for number, value in enumerate(found, 1)])
        yield f"{start}>{values}</DicomAttribute>"


def _value(number: int, value: str | int | float | None) -> str:
    """One value; an empty one among several is there and empty (PS3.19 Table A.1.5-2)."""
    text = "" if value is None else _text(value) if isinstance(value, str) else str(value)
    return f'<Value number="{number}">{text}</Value>'


def _person_name(number: int, name: Mapping[str, str] | None) -> str:
    groups = "".join(
        f"<{group}>{_components(name[group])}</{group}>"
        for group in NAME_GROUPS
        if name is not None and group in name
    )
    return f'<PersonName number="{number}">{groups}</PersonName>'


def _components(group: str) -> str:
    # A sixth component, which no name has, stays in the fifth.
    parts = zip(NAME_COMPONENTS, group.split("^", 4), strict=False)
    return "".join(f"<{kind}>{_text(part)}</{kind}>" for kind, part in parts if part)


def _text(value: str) -> str:
    return escape(_fit(value), _CARRIAGE_RETURN)


def _fit(value: str) -> str:
    return value if value.isprintable() else _UNFIT.sub("\N{REPLACEMENT CHARACTER}", value)

"""Metadata documents: arrays of DICOM JSON (PS3.18 §F.2), one line an instance.

JSON allows line breaks between the elements of an array, and DICOM JSON as we
write it holds none inside one. So a document is made from the lines of older
ones without parsing values, an instance's entry is a line, and the line breaks
count the originals a document accounts for: one that could not be read leaves
an empty line. A reader compares that count with the files there are and knows
whether the document is current.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from pacsless.dicom.dicom_json import to_dicom_json
from pacsless.dicom.header import read_header
from pacsless.dicom.transfer_syntaxes import lookup
from pacsless.errors import Unprocessable
from pacsless.strict_json import dumps, loads

_SOP_INSTANCE_UID: Final = "00080018"
_UIDS: Final = ("0020000D", "0020000E", _SOP_INSTANCE_UID)
_AVAILABLE_TRANSFER_SYNTAX_UID: Final = "00083002"
_INSTANCE_NUMBER: Final = "00200013"
_NO_NUMBER: Final = 1 << 31  # IS ends below it (PS3.5 Table 6.2-1)


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One instance in a document. Entries sort by Instance Number, then by UID."""

    instance_number: int
    uid_order: tuple[int, ...]
    sop_instance_uid: str
    line: bytes

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Entry:
        """Make the entry of an instance from its DICOM JSON.

        Raises as `order_of`.
        """
        return cls(*order_of(attributes), dumps(attributes))

    @classmethod
    def of_line(cls, line: bytes) -> Entry:
        """Read back what orders an entry.

        Raises
        ------
        ValueError
            If the line is not an instance's DICOM JSON.
        """
        try:
            return cls(*order_of(loads(line)), line)
        except (LookupError, TypeError, AttributeError, RecursionError):
            raise ValueError("not an entry") from None


def identifiers_of(attributes: Mapping[str, Any]) -> tuple[str, str, str]:
    """Study, series and SOP Instance UID of an instance's DICOM JSON; raises as `order_of`."""
    study, series, sop = (str(attributes[tag]["Value"][0]) for tag in _UIDS)
    return study, series, sop


def order_of(attributes: Mapping[str, Any]) -> tuple[int, tuple[int, ...], str]:
    """Where an instance's entry stands: its Instance Number, its UID by components, its UID.

    Raises
    ------
    LookupError, TypeError, AttributeError
        If that is not an instance's DICOM JSON.
    """
    uid = str(attributes[_SOP_INSTANCE_UID]["Value"][0])
    return _number(attributes), _components(uid), uid


def _number(attributes: Mapping[str, Any]) -> int:
    values = attributes.get(_INSTANCE_NUMBER, {}).get("Value") or [None]
    return values[0] if isinstance(values[0], int) else _NO_NUMBER


def _components(uid: str) -> tuple[int, ...]:
    """Order of a UID: 1.2.10 comes after 1.2.9."""
    return tuple(int(part) if part.isdecimal() else -1 for part in uid.split("."))


def read_attributes(
    file: BinaryIO, uids: tuple[str, str, str], bulk_data_uri: Callable[[str], str]
) -> dict[str, Any]:
    """Read an instance's file: its DICOM JSON as its entry says it.

    Parameters
    ----------
    file
        A PS3.10 file.
    uids
        Study, series and SOP Instance UID it is addressed by. They are what is
        said, also where the data set pads or spells them otherwise.
    bulk_data_uri
        Path of an attribute to its BulkDataURI.

    Raises
    ------
    Unprocessable
        If the file cannot be read as DICOM; the message holds no values.
    """
    try:
        header = read_header(file)
        found = to_dicom_json(header, bulk_data_uri)
        # Viewers tell video from images by it. It names what /frames serves.
        syntax = lookup(header.transfer_syntax).web_uid
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        # A library's message may quote a value.
        raise Unprocessable("unreadable", "the file cannot be read as DICOM") from None
    tags = (*_UIDS, _AVAILABLE_TRANSFER_SYNTAX_UID)
    for tag, uid in zip(tags, (*uids, syntax), strict=True):
        found[tag] = {"vr": "UI", "Value": [uid]}
    return dict(sorted(found.items()))


def compose(entries: Iterable[Entry], left_out: int) -> bytes:
    """Make a document.

    Parameters
    ----------
    entries
        Its instances, in any order.
    left_out
        How many originals have no entry because they cannot be read.
    """
    lines = [entry.line for entry in sorted(entries)]
    return _array(lines, len(lines) + left_out)


def join(documents: Sequence[bytes]) -> bytes:
    """Make one document of several, in their order, from their bytes alone."""
    bodies = [body for document in documents if (body := document[1:-1].strip())]
    return _array(bodies, sum(count(document) for document in documents))


def _array(bodies: Sequence[bytes], originals: int) -> bytes:
    # Copied once: a study of thousands of instances is tens of megabytes.
    pieces = [b"["]
    for body in bodies:
        pieces += (body, b",\n")
    if bodies:
        pieces.pop()
    lines = sum(body.count(b"\n") for body in bodies) + max(0, len(bodies) - 1)
    return b"".join((*pieces, b"\n" * (originals - lines), b"]"))


def count(document: bytes) -> int:
    """Return how many originals a document accounts for, left out ones included."""
    return document.count(b"\n")


def lines(document: bytes) -> Iterator[bytes]:
    """Yield the entries of a document as they are written."""
    return read_lines(io.BytesIO(document))


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the entries of a document as they are written, one line read at a time."""
    for line in file:
        # An entry is an object: brackets about it are the document's.
        entry = line.removeprefix(b"[").removesuffix(b"]").removesuffix(b"\n").removesuffix(b",")
        if entry:
            yield entry


def find(document: bytes, sop_instance_uid: str) -> bytes | None:
    """Return the entry of one instance, or None if the document has none."""
    needle = dumps({"vr": "UI", "Value": [sop_instance_uid]})
    position = document.find(needle)
    while position >= 0:
        start = max(document.rfind(b"\n", 0, position) + 1, 1)
        end = document.find(b"\n", position)
        line = document[start:end].removesuffix(b",")
        # The UID also stands in the entries that refer to it.
        if Entry.of_line(line).sop_instance_uid == sop_instance_uid:
            return line
        position = document.find(needle, end)
    return None

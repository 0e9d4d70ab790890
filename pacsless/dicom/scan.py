"""Who is this instance? Identifiers only, without parsing the data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

from pacsless.dicom import text
from pacsless.dicom.elements import (
    UNDEFINED,
    Element,
    Encoding,
    ScanError,
    Source,
    encoding_of,
    next_element,
    open_data_set,
    skip_undefined,
    top_level,
)
from pacsless.dicom.head import (
    CHARACTER_SET,
    IDENTIFIERS,
    PATIENT_ID,
    SERIES,
    SOP_CLASS,
    SOP_INSTANCE,
    STUDY,
    BeyondHead,
    Head,
)
from pacsless.dicom.transfer_syntaxes import lookup

__all__ = ["Identifiers", "ScanError", "scan", "scan_head"]

INFLATE_LIMIT: Final = 4 * 1024 * 1024

_PIXEL_GROUP: Final = 0x7FE00000
_UIDS: Final = frozenset({SOP_CLASS, SOP_INSTANCE, STUDY, SERIES})
# Identifiers are of VRs of at most 64 characters; the rest is room for bad writers.
_MAX_VALUE: Final = 1024
_MAX_ELEMENTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Identifiers:
    """What the data set says of itself; a missing attribute is ``""``.

    The values are as sent, less DICOM's padding: they are *not* known to be
    UIDs. `pacsless.identity.InstanceIdentity` validates them.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str


def scan(
    file: BinaryIO, transfer_syntax: str, *, inflate_limit: int = INFLATE_LIMIT
) -> Identifiers:
    """Find the identifiers of a data set, from the file's current position on.

    Values are skipped, not read, and nothing after (0020,000E) is looked at:
    the pixels may be cut off. Only if a UID is missing by then does the search
    go on, for data sets out of order.

    Parameters
    ----------
    file
        Seekable, positioned at the first byte of the data set.
    transfer_syntax
        Of the data set: negotiated, or from the File Meta Information.
    inflate_limit
        Most bytes to inflate of a deflated data set.

    Raises
    ------
    ScanError
        If the bytes are not a data set, end too early, or exceed a limit. The
        message holds no value of the data set.
    """
    source, encoding = open_data_set(file, file.tell(), transfer_syntax, inflate_limit)
    # Nearly always the first window tells.
    answer = _identify_within(Head(source.window, source.origin), encoding)
    if answer is not None:
        return answer
    found: dict[int, bytes] = {}
    for element in top_level(source, encoding, _MAX_ELEMENTS):
        if _note(element, source, found):
            break
    return _identifiers(found)


def scan_head(head: bytes | bytearray | memoryview, transfer_syntax: str) -> Identifiers | None:
    """Find the identifiers in the first bytes of a data set, if no others matter.

    Parameters
    ----------
    head
        What the data set begins with; it need not end there. `bytes` are not copied.
    transfer_syntax
        Of the data set.

    Returns
    -------
    Identifiers or None
        What `scan` finds in any data set that begins so; None if that depends
        on what comes next, or if it is deflated.

    Raises
    ------
    ScanError
        As `scan` does for any data set that begins so.
    """
    syntax = lookup(transfer_syntax)
    if syntax.deflated or len(head) < 8:
        return None
    known = Head(bytes(head))
    return _identify_within(known, encoding_of(known.window[:8], syntax))


def _identify_within(head: Head, encoding: Encoding) -> Identifiers | None:
    found: dict[int, bytes] = {}
    position = head.origin
    try:
        while True:
            position = head.pass_over(position, encoding, found)
            element = next_element(head, position, encoding)
            assert element is not None  # a head does not say that the data ends
            if _note(element, head, found):
                return _identifiers(found)
            if element.length == UNDEFINED:
                position = skip_undefined(head, element, encoding, head.pass_over)
            else:
                position = element.offset + element.length
    except BeyondHead:
        return None


def _note(element: Element, source: Source, found: dict[int, bytes]) -> bool:
    """Keep the value of an identifier; whether it is too late for others."""
    tag, _, length, offset = element
    if tag > SERIES and (tag >= _PIXEL_GROUP or found.keys() >= _UIDS):
        return True
    if tag in IDENTIFIERS and tag not in found:
        if length > _MAX_VALUE:
            raise ScanError(
                "invalid-length",
                f"({tag >> 16:04X},{tag & 0xFFFF:04X}) claims {length} bytes",
            )
        found[tag] = source.read(offset, length)
    return False


def _identifiers(found: dict[int, bytes]) -> Identifiers:
    encoding_of_text = text.encoding_of(found.get(CHARACTER_SET, b""))
    return Identifiers(
        sop_class_uid=_clean(found.get(SOP_CLASS, b"")),
        sop_instance_uid=_clean(found.get(SOP_INSTANCE, b"")),
        study_instance_uid=_clean(found.get(STUDY, b"")),
        series_instance_uid=_clean(found.get(SERIES, b"")),
        patient_id=_clean(found.get(PATIENT_ID, b""), encoding_of_text),
    )


def _clean(value: bytes, encoding: str = text.DEFAULT) -> str:
    return text.decode(value.rstrip(b"\0 "), encoding).strip(" ")

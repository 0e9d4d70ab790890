"""Who is this instance? Identifiers only, without parsing the data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

from pacsless.dicom import text
from pacsless.dicom.elements import ScanError, open_data_set, top_level

__all__ = ["Identifiers", "ScanError", "scan"]

INFLATE_LIMIT: Final = 4 * 1024 * 1024

_CHARACTER_SET: Final = 0x00080005
_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018
_PATIENT_ID: Final = 0x00100020
_STUDY: Final = 0x0020000D
_SERIES: Final = 0x0020000E
_PIXEL_GROUP: Final = 0x7FE00000
_UIDS: Final = (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)
_WANTED: Final = frozenset({*_UIDS, _PATIENT_ID, _CHARACTER_SET})
# All are of VRs of at most 64 characters; the rest is room for bad writers.
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
    found: dict[int, bytes] = {}
    for tag, _vr, length, offset in top_level(source, encoding, _MAX_ELEMENTS):
        if tag > _SERIES and (tag >= _PIXEL_GROUP or all(uid in found for uid in _UIDS)):
            break
        if tag in _WANTED and tag not in found:
            if length > _MAX_VALUE:
                raise ScanError(
                    "invalid-length",
                    f"({tag >> 16:04X},{tag & 0xFFFF:04X}) claims {length} bytes",
                )
            found[tag] = source.read(offset, length)
    encoding_of_text = text.encoding_of(found.get(_CHARACTER_SET, b""))
    return Identifiers(
        sop_class_uid=_clean(found.get(_SOP_CLASS, b"")),
        sop_instance_uid=_clean(found.get(_SOP_INSTANCE, b"")),
        study_instance_uid=_clean(found.get(_STUDY, b"")),
        series_instance_uid=_clean(found.get(_SERIES, b"")),
        patient_id=_clean(found.get(_PATIENT_ID, b""), encoding_of_text),
    )


def _clean(value: bytes, encoding: str = text.DEFAULT) -> str:
    return text.decode(value.rstrip(b"\0 "), encoding).strip(" ")

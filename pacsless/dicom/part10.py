"""PS3.10 files: finding the data set in one, and the File Meta Information of ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from struct import pack
from typing import BinaryIO, Final

from pacsless.dicom.elements import Encoding, ScanError, Source, next_element
from pacsless.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

IMPLEMENTATION_CLASS_UID: Final = "2.25.157609333727637003412936651956045031774"
"""(0002,0012): a UUID's (PS3.5 §B.2), version 5 of the project's URL."""
IMPLEMENTATION_VERSION_NAME: Final = "PACSLESS_0.1"

_PREAMBLE: Final = 128
_PREFIX: Final = b"DICM"
_GROUP_LENGTH: Final = 0x00020000
_SOP_CLASS: Final = 0x00020002
_SOP_INSTANCE: Final = 0x00020003
_TRANSFER_SYNTAX: Final = 0x00020010
_UIDS: Final = frozenset({_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX})
# A dozen elements are defined; private information adds one more.
_MAX_META_ELEMENTS: Final = 100
_MAX_UID: Final = 128
# A composite instance's data set begins with group 0008 (PS3.3 §C.12.1), in
# either byte order.
_GROUP_8: Final = (b"\x08\0", b"\0\x08")


@dataclass(frozen=True, slots=True)
class Part10:
    """Where the data set of a file begins, and what the File Meta Information says.

    Attributes
    ----------
    transfer_syntax
        (0002,0010); told from the first element of the data set where there is
        no File Meta Information, or none with that element.
    dataset_offset
        Of the first byte of the data set.
    sop_class_uid, sop_instance_uid
        (0002,0002) and (0002,0003), or ``""``.
    has_meta
        Whether there is File Meta Information at all.
    """

    transfer_syntax: str
    dataset_offset: int
    sop_class_uid: str
    sop_instance_uid: str
    has_meta: bool


def split_part10(file: BinaryIO) -> Part10:
    """Find the data set of a file, and leave the file positioned at its first byte.

    With or without preamble, with a missing or wrong group length, or without
    File Meta Information at all.

    Raises
    ------
    ScanError
        ``not-dicom`` or ``truncated``.
    """
    source = Source(file, 0)
    source.fill(0, _PREAMBLE + len(_PREFIX) + 12)
    head = source.window
    start = 0
    # A bare data set may have these four letters there by chance.
    if head[_PREAMBLE:].startswith(_PREFIX) and (
        head[_PREAMBLE + 4 :].startswith(b"\x02\0") or not head.startswith(_GROUP_8)
    ):
        start = _PREAMBLE + 4
    elif head.startswith(_PREFIX):
        start = len(_PREFIX)
    values, end = _meta_values(source, start)
    if not source.fill(end, 8):
        if start or values:
            raise ScanError("truncated", "the file ends before its data set begins")
        raise ScanError("not-dicom", "the file is empty or too short to be DICOM")
    uids = {tag: _uid(value) for tag, value in values.items()}
    begin = end - source.start
    first = source.window[begin : begin + 8]
    if not values and not start and not first.startswith(_GROUP_8):
        raise ScanError("not-dicom", "the file has no DICM prefix and begins with no data set")
    file.seek(end)
    return Part10(
        transfer_syntax=uids.get(_TRANSFER_SYNTAX) or _guess(first),
        dataset_offset=end,
        sop_class_uid=uids.get(_SOP_CLASS, ""),
        sop_instance_uid=uids.get(_SOP_INSTANCE, ""),
        has_meta=bool(values),
    )


def _meta_values(source: Source, start: int) -> tuple[dict[int, bytes], int]:
    """Return the UIDs of the File Meta Information and the position after it.

    Its group length is believed only where an element ends right there: it is
    needed before a deflated data set, which may begin with any bytes.
    """
    encoding = Encoding(implicit_vr=False, little_endian=True)
    values: dict[int, bytes] = {}
    position = start
    believed_end = -1
    for _ in range(_MAX_META_ELEMENTS):
        if position == believed_end or not source.fill(position, 8):
            return values, position
        begin = position - source.start
        if source.window[begin : begin + 2] != b"\x02\0":
            return values, position
        element = next_element(source, position, encoding)
        if element is None:
            return values, position
        tag, _vr, length, offset = element
        if tag in _UIDS and length > _MAX_UID:
            raise ScanError("invalid-length", "a UID of the File Meta Information is too long")
        if tag == _GROUP_LENGTH and length == 4:
            believed_end = offset + 4 + int.from_bytes(source.read(offset, 4), "little")
        values[tag] = source.read(offset, length) if tag in _UIDS else b""
        position = offset + length
    raise ScanError("not-dicom", "the File Meta Information has too many elements")


def _uid(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("ascii", "replace")


def _guess(first: bytes) -> str:
    """Tell a transfer syntax from the first element of a data set."""
    if not first[4:6].isalpha():
        return IMPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_BIG_ENDIAN if first[:1] == b"\0" else EXPLICIT_VR_LITTLE_ENDIAN


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Return preamble, prefix and File Meta Information (PS3.10 §7.1) for a data set.

    The same arguments give the same bytes. The data set follows as it is.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid, transfer_syntax_uid
        Validated by the caller.
    """
    before, after = _around_instance(sop_class_uid, transfer_syntax_uid)
    instance = _element(_SOP_INSTANCE, b"UI", sop_instance_uid)
    size = len(before) + len(instance) + len(after)
    length = pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, size)
    return b"".join((bytes(_PREAMBLE), _PREFIX, length, before, instance, after))


@lru_cache(1024)  # a sender's instances are much alike
def _around_instance(sop_class_uid: str, transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """Elements before and after (0002,0003)."""
    # (0002,0001) File Meta Information Version
    version = b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01"
    return (
        version + _element(_SOP_CLASS, b"UI", sop_class_uid),
        _element(_TRANSFER_SYNTAX, b"UI", transfer_syntax_uid)
        + _element(0x00020012, b"UI", IMPLEMENTATION_CLASS_UID)
        + _element(0x00020013, b"SH", IMPLEMENTATION_VERSION_NAME),
    )


def _element(tag: int, vr: bytes, value: str) -> bytes:
    encoded = value.encode("ascii")
    if len(encoded) % 2:
        # PS3.5 §6.2: UIDs are padded with NUL, text with a space.
        encoded += b"\0" if vr == b"UI" else b" "
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(encoded)) + encoded

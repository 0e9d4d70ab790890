"""Data sets made up at random, whole ones and spoilt ones, for hypothesis."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from pacsless.dicom.part10 import split_part10
from pacsless.dicom.scan import ScanError
from pacsless.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dicom_files import UNDEFINED, bundled, element, identifiers, implicit, item

SYNTAXES = (
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
KEYS = (0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00100020, 0x00080005)


def cut_out(path: Path) -> tuple[bytes, str] | None:
    """Return the first half megabyte of the data set in a file, and its transfer syntax."""
    with path.open("rb") as file:
        try:
            part10 = split_part10(file)
        except ScanError:
            return None
        return file.read(1 << 19), part10.transfer_syntax


FILES = [found for path in bundled() if (found := cut_out(path))]
"""What pydicom bundles."""

TAGS = st.sampled_from(
    [
        *KEYS,
        *(0x00080000, 0x00080008, 0x00082218, 0x00081140, 0x00091010, 0x00191008, 0x00100010),
        *(0x00180020, 0x20050020, 0x00200010, 0x00280010, 0x52009229, 0x7FE00010, 0x80000016),
        *(0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0x16000800, 0x08001600),
    ]
)
VRS = st.sampled_from(
    ["UI", "LO", "CS", "SH", "DS", "US", "AT", "FD", "UN", "OB", "SQ", "UT", "ZZ", "Uu"]
)
VALUES = st.one_of(
    st.sampled_from([b"", b"1.2\0", b"1.2.3 ", b"GB18030 ", b"M\xc3\xbcller", b"x" * 70]),
    st.binary(max_size=70),
    st.sampled_from([1023, 1024, 1025, 3000, 16_000]).map(bytes),
)


def written(explicit: bool) -> st.SearchStrategy[bytes]:
    """Write one element, perhaps a sequence, perhaps with elements of the other kind in it."""

    def write(tag: int, vr: str, value: bytes) -> bytes:
        if not explicit:
            return implicit(tag, value)
        return element(tag, vr if len(value) < 1 << 16 else "UN", value)

    def nest(tag: int, vr: str, inside: list[bytes], whole: bool, ended: bool) -> bytes:
        value = b"".join(item(part, undefined=not ended) for part in inside)
        if whole:
            return write(tag, vr, value)
        vr = vr if vr in ("UN", "OB") else "SQ"
        head = element(tag, vr, b"", length=UNDEFINED)
        head = head if explicit else implicit(tag, b"", length=UNDEFINED)
        return head + value + implicit(0xFFFEE0DD, b"")

    leaf = st.builds(write, TAGS, VRS, VALUES)
    other = st.builds(implicit, TAGS, VALUES)
    return st.recursive(
        leaf,
        lambda inner: st.builds(
            nest,
            TAGS,
            VRS,
            st.lists(st.lists(inner | other, max_size=3).map(b"".join), max_size=3),
            st.booleans(),
            st.booleans(),
        ),
        max_leaves=6,
    )


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[bytes, str]:
    """A data set and the transfer syntax it is said to be in."""
    explicit = draw(st.booleans())
    parts = draw(st.lists(written(explicit), max_size=12))
    if draw(st.booleans()):  # good ones are in order
        parts.sort(key=lambda part: (part[1], part[0], part[3], part[2]))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), identifiers())
    # A little file has more elements at its end than its head.
    parts.append(b"\x28\x00\x10\x00US\x02\x00ab" * draw(st.integers(0, 3)))
    natural = EXPLICIT_VR_LITTLE_ENDIAN if explicit else IMPLICIT_VR_LITTLE_ENDIAN
    return b"".join(parts), draw(st.sampled_from([natural, natural, natural, *SYNTAXES]))


@st.composite
def spoilt(draw: st.DrawFn, given_files: list[tuple[bytes, str]]) -> tuple[bytes, str]:
    """One of these, or one made up, with a few bytes that are not as they should be."""
    data_set, transfer_syntax = (
        draw(st.sampled_from(given_files)) if given_files else draw(data_sets())
    )
    data = bytearray(data_set)
    near = st.integers(0, max(8, min(len(data), 3000)))
    for _ in range(draw(st.integers(0, 4))):
        where = draw(near)
        match draw(st.sampled_from(["flip", "insert", "delete", "overwrite", "cut"])):
            case "flip" if where < len(data):
                data[where] ^= 1 << draw(st.integers(0, 7))
            case "insert":
                data[where:where] = draw(st.binary(max_size=12) | written(explicit=True))
            case "delete":
                del data[where : where + draw(st.integers(1, 40))]
            case "overwrite":
                patch = draw(st.binary(max_size=4) | st.just(b"\xff\xff\xff\xff"))
                data[where : where + len(patch)] = patch
            case "cut":
                del data[where + 200 :]
    return bytes(data), transfer_syntax

"""Frames are located where pydicom finds them, without reading them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from struct import pack

import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames

from pacsless.dicom.frames import FrameTable, locate_frames
from pacsless.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from pacsless.errors import NotFound, Unprocessable
from tests.dicom_files import (
    UNDEFINED,
    bundled,
    deflated,
    element,
    fragments,
    identifiers,
    implicit,
    item,
    part10,
    samples,
    sequence,
)

JPEG = "1.2.840.10008.1.2.4.50"
H264 = "1.2.840.10008.1.2.4.102"


def image(
    *, frames: int = 1, rows: int = 4, columns: int = 4, bits: int = 8, samples: int = 1
) -> bytes:
    return identifiers() + b"".join(
        (
            element(0x00280002, "US", pack("<H", samples)),
            element(0x00280008, "IS", f"{frames} ".encode()),
            element(0x00280010, "US", pack("<H", rows)),
            element(0x00280011, "US", pack("<H", columns)),
            element(0x00280100, "US", pack("<H", bits)),
        )
    )


def locate(data_set: bytes, transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> FrameTable:
    return locate_frames(io.BytesIO(part10(data_set, transfer_syntax)))


def frames_of(content: bytes) -> list[bytes]:
    table = locate_frames(io.BytesIO(content))
    return [
        b"".join(content[offset : offset + length] for offset, length in table.ranges(number))
        for number in range(1, table.number_of_frames + 1)
    ]


def frames_by_pydicom(data_set: Dataset, table: FrameTable) -> Sequence[bytes]:
    number = 1 if table.media_type.startswith("video/") else int(data_set.get("NumberOfFrames", 1))
    if table.is_encapsulated:
        extended = None
        if "ExtendedOffsetTable" in data_set:
            extended = (data_set.ExtendedOffsetTable, data_set.ExtendedOffsetTableLengths)
        return list(
            generate_frames(data_set.PixelData, number_of_frames=number, extended_offsets=extended)
        )
    for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        if keyword in data_set:
            pixels = data_set[keyword].value
    [(_, length)] = table.ranges(1)
    return [pixels[i * length : (i + 1) * length] for i in range(number)]


FILES = [
    *bundled(),
    *samples("multiframe", "transfer-syntaxes", "video", "wsi", "odd/fo-dicom", "odd/dcm4che"),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_frames_are_those_pydicom_finds(path: Path) -> None:
    content = path.read_bytes()
    try:
        table = locate_frames(io.BytesIO(content))
    except Unprocessable:
        return  # see test_only_known_files_are_without_frames
    if not table.byte_aligned or path.name.startswith(("badVR", "GH177_D_CLUNIE_CT1_IVRLE")):
        return  # pydicom has no bytes of such frames, or cannot read the file
    found = frames_of(content)
    expected = frames_by_pydicom(dcmread(path, force=True), table)
    assert [frame.rstrip(b"\0") for frame in found] == [frame.rstrip(b"\0") for frame in expected]


def test_only_known_files_are_without_frames() -> None:
    without: dict[str, set[str]] = {}
    for path in bundled():
        try:
            locate_frames(io.BytesIO(path.read_bytes()))
        except Unprocessable as error:
            without.setdefault(error.code, set()).add(path.name)
    assert without.pop("truncated") == {"MR_truncated.dcm", "rtplan_truncated.dcm"}
    assert without.pop("deflated") == {"image_dfl.dcm"}
    for name in without.pop("no-pixel-data"):
        [path] = [path for path in bundled() if path.name == name]
        assert not {"PixelData", "Rows"} <= set(dcmread(path, force=True).dir())
    assert not without


def test_native_frames_are_slices() -> None:
    content = part10(image(frames=3) + element(0x7FE00010, "OB", bytes(range(48))))
    assert frames_of(content) == [bytes(range(16 * i, 16 * i + 16)) for i in range(3)]
    table = locate_frames(io.BytesIO(content))
    assert (table.rows, table.columns, table.samples_per_pixel, table.bits_allocated) == (
        4,
        4,
        1,
        8,
    )
    assert table.media_type == "application/octet-stream"
    for number in (0, -1, 4, 1 << 40):
        with pytest.raises(NotFound):
            table.ranges(number)


def test_frames_of_single_bits_may_begin_inside_a_byte() -> None:
    table = locate(image(frames=3, rows=3, bits=1) + element(0x7FE00010, "OB", bytes(6)))
    assert not table.byte_aligned
    [(origin, length)] = table.ranges(1)
    assert (length, table.bit_offset(1)) == (2, 0)
    assert table.ranges(2) == [(origin + 1, 2)]
    assert [table.bit_offset(number) for number in (2, 3)] == [4, 0]
    assert table.ranges(3) == [(origin + 3, 2)]
    assert locate(image(rows=3, bits=1) + element(0x7FE00010, "OB", bytes(2))).byte_aligned


@pytest.mark.parametrize(("tag", "vr", "bits"), [(0x7FE00008, "OF", 32), (0x7FE00009, "OD", 64)])
def test_float_pixels(tag: int, vr: str, bits: int) -> None:
    table = locate(image(frames=2, bits=bits) + element(tag, vr, bytes(4 * bits)))
    [(_, length)] = table.ranges(2)
    assert (length, table.bits_allocated) == (2 * bits, bits)


def test_subsampled_native_pixels_take_two_bytes_each() -> None:
    data_set = identifiers() + element(0x00280004, "CS", b"YBR_FULL_422")
    table = locate(
        data_set
        + image(frames=2, samples=3)[len(identifiers()) :]
        + element(0x7FE00010, "OB", bytes(64))
    )
    [(_, length)] = table.ranges(2)
    assert length == 32


@pytest.mark.parametrize(
    ("frames", "length", "there"), [((1 << 31) - 1, 32, 2), (2, 40, 2), (0, 16, 1)]
)
def test_number_of_frames_is_what_is_there(frames: int, length: int, there: int) -> None:
    data_set = image(frames=frames) + element(0x7FE00010, "OB", bytes(length))
    assert locate(data_set).number_of_frames == there


def test_a_length_that_lies_gives_whole_frames_only() -> None:
    pixels = element(0x7FE00010, "OW", bytes(40), length=UNDEFINED - 1)
    assert locate(image(frames=9) + pixels).number_of_frames == 2


@pytest.mark.parametrize(
    ("data_set", "transfer_syntax", "code"),
    [
        (identifiers(), EXPLICIT_VR_LITTLE_ENDIAN, "no-pixel-data"),
        (
            image(rows=0) + element(0x7FE00010, "OB", b""),
            EXPLICIT_VR_LITTLE_ENDIAN,
            "no-pixel-data",
        ),
        (image() + element(0x7FE00010, "OB", bytes(8)), EXPLICIT_VR_LITTLE_ENDIAN, "truncated"),
        (image() + element(0x7FE00010, "OB", bytes(16)), JPEG, "not-encapsulated"),
        (image() + fragments(), JPEG, "no-pixel-data"),
        (image(frames=2) + fragments(b"ab", b"cd", b"ef"), JPEG, "bad-fragments"),
        (image() + fragments(b"ab")[:-9], JPEG, "truncated"),
        (deflated(image()), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, "deflated"),
    ],
)
def test_pixels_that_cannot_be_located(data_set: bytes, transfer_syntax: str, code: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        locate(data_set, transfer_syntax)
    assert caught.value.code == code


ONE, TWO, THREE, FOUR = b"\xff\xd8\xff1", b"two2", b"\xff\xd8\xff3", b"four"


def table_of(*offsets: int) -> bytes:
    return pack(f"<{len(offsets)}L", *offsets)


@pytest.mark.parametrize(
    ("parts", "frames", "table", "expected"),
    [
        ((ONE, THREE), 2, b"", [ONE, THREE]),
        ((ONE, TWO), 1, b"", [ONE + TWO]),
        ((ONE, TWO), 1, table_of(0, 12), [ONE + TWO]),
        ((ONE, TWO, THREE), 2, table_of(0, 24), [ONE + TWO, THREE]),
        ((ONE, TWO, THREE, FOUR), 2, b"", [ONE + TWO, THREE + FOUR]),
        ((ONE, TWO, THREE, FOUR), 2, table_of(0, 25), [ONE + TWO, THREE + FOUR]),
        ((ONE, TWO, THREE), 3, table_of(24, 12, 0), [ONE, TWO, THREE]),
        ((ONE, TWO), 2, table_of(0, 1 << 31), [ONE, TWO]),
        ((ONE, TWO), 2, b"\0\0\0", [ONE, TWO]),
        ((ONE, TWO), (1 << 31) - 1, b"", [ONE, TWO]),
        ((ONE, TWO), 2, table_of(0), [ONE, TWO]),
        ((ONE, TWO, THREE, FOUR), 9, table_of(0, 24), [ONE + TWO, THREE + FOUR]),
        ((ONE, TWO, THREE, FOUR), 2, table_of(0, 12, 24), [ONE, TWO]),
    ],
    ids=[
        "one each",
        "all in one",
        "table of fragments",
        "table",
        "codestreams",
        "table off, codestreams",
        "table descends",
        "table out of range",
        "table torn",
        "number of frames lies",
        "table of one entry",
        "table, more frames declared",
        "table, fewer frames declared",
    ],
)
def test_fragments_become_frames(
    parts: tuple[bytes, ...], frames: int, table: bytes, expected: list[bytes]
) -> None:
    content = part10(image(frames=frames) + fragments(*parts, table=table), JPEG)
    assert frames_of(content) == expected
    assert locate_frames(io.BytesIO(content)).media_type == "image/jpeg"


@pytest.mark.parametrize(
    ("offsets", "lengths", "expected"),
    [
        ((0, 12), (3, 4), [b"\xff\xd8\xff", TWO]),
        ((0, 13), (3, 4), [ONE, TWO]),
        ((0, 12), (3, 1 << 40), [ONE, TWO]),
        ((0,), (3,), [ONE, TWO]),
    ],
    ids=["true", "offset lies", "length lies", "too few"],
)
def test_extended_offset_tables_are_used_if_true(
    offsets: tuple[int, ...], lengths: tuple[int, ...], expected: list[bytes]
) -> None:
    tables = b"".join(
        element(tag, "OV", pack(f"<{len(values)}Q", *values))
        for tag, values in ((0x7FE00001, offsets), (0x7FE00002, lengths))
    )
    assert frames_of(part10(image(frames=2) + tables + fragments(ONE, TWO), JPEG)) == expected


def test_a_video_is_one_stream() -> None:
    content = part10(image(frames=50) + fragments(b"aa", b"bb"), H264)
    table = locate_frames(io.BytesIO(content))
    assert (table.media_type, table.number_of_frames) == ("video/mp4", 1)
    assert frames_of(content) == [b"aabb"]


def test_pixels_of_an_icon_are_not_the_image() -> None:
    icon = sequence(0x00880200, item(element(0x7FE00010, "OB", bytes(16))), undefined=True)
    data_set = image() + icon + element(0x7FE00010, "OB", b"x" * 16)
    assert frames_of(part10(data_set)) == [b"x" * 16]


def test_frames_of_banned_syntaxes_are_declared_otherwise_on_the_web() -> None:
    data_set = implicit(0x0020000E, b"1.2\0") + b"".join(
        implicit(tag, pack("<H", value))
        for tag, value in ((0x00280002, 1), (0x00280010, 2), (0x00280011, 2), (0x00280100, 8))
    )
    table = locate(data_set + implicit(0x7FE00010, bytes(4)), IMPLICIT_VR_LITTLE_ENDIAN)
    assert table.web_transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN
    assert table.swap == 1


@pytest.mark.parametrize(("vr", "bits", "swap"), [("OW", 16, 2), ("OW", 8, 2), ("OB", 8, 1)])
def test_big_endian_frames_tell_how_to_swap_them(vr: str, bits: int, swap: int) -> None:
    data_set = b"".join(
        element(tag, "US", pack(">H", value), order=">")
        for tag, value in ((0x00280002, 1), (0x00280010, 2), (0x00280011, 2), (0x00280100, bits))
    )
    pixels = element(0x7FE00010, vr, bytes(bits // 2), order=">")
    assert locate(data_set + pixels, EXPLICIT_VR_BIG_ENDIAN).swap == swap


def test_many_frames_cost_little() -> None:
    parts = [b"\xff\xd8\xff" + bytes([i % 256]) for i in range(20_000)]
    table = locate(image(frames=20_000) + fragments(*parts), JPEG)
    assert table.number_of_frames == 20_000
    assert len(table.ranges(20_000)) == 1

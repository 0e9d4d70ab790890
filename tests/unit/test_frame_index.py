"""A frame index says what the file says, and can say nothing that is not in it."""

from __future__ import annotations

import io
from itertools import accumulate
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsless.dicom.frame_index import (
    HEADER_BYTES,
    IndexHeader,
    is_whole_index,
    wants_index,
    write_index,
)
from pacsless.dicom.frame_records import RECORD_BYTES, BadRecord, FrameRecords
from pacsless.dicom.frames import FrameTable, declared_frames, locate_frames
from pacsless.errors import Unprocessable
from tests.dicom_files import bundled, element, fragments, identifiers, part10, samples

JPEG = "1.2.840.10008.1.2.4.50"
FILES = [*bundled(), *samples("multiframe", "transfer-syntaxes", "wsi", "video")]


def frames_file(*parts: bytes, frames: int, table: bytes = b"", before: bytes = b"") -> bytes:
    number = element(0x00280008, "IS", f"{frames}".encode().ljust(12))
    return part10(identifiers() + number + before + fragments(*parts, table=table), JPEG)


def read_back(index: bytes) -> FrameTable:
    header = IndexHeader.read(index)
    assert header is not None
    if not header.count:
        return header.table(None)
    return header.table(FrameRecords.packed(index[HEADER_BYTES:], header.size))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_index_says_what_a_walk_finds(path: Path) -> None:
    content = path.read_bytes()
    try:
        table = locate_frames(io.BytesIO(content))
    except Unprocessable:
        return  # tests/unit/test_dicom_frames.py knows which
    index = write_index(table, len(content), 1.5)
    found = read_back(index)
    numbers = range(1, table.number_of_frames + 1)
    assert [found.ranges(number) for number in numbers] == [table.ranges(one) for one in numbers]
    for fact in FrameTable.__dataclass_fields__:
        if fact != "records":
            assert getattr(found, fact) == getattr(table, fact), fact
    assert index == write_index(locate_frames(io.BytesIO(content), 4 << 20), len(content), 1.5)
    assert is_whole_index(index, len(content), 1.5)
    if wants_index(table.transfer_syntax) and table.number_of_frames > 1:
        assert declared_frames(io.BytesIO(content)) > 1


def test_a_frame_is_one_record_and_its_pieces_are_others() -> None:
    parts = [b"1a", b"1b", b"2a", b"3a", b"3b", b"3c"]
    firsts = (0, 2, 3, 6)
    offsets = list(accumulate((8 + len(part) for part in parts), initial=0))
    content = frames_file(
        *parts, frames=3, table=pack("<3L", *(offsets[first] for first in firsts[:-1]))
    )
    table = locate_frames(io.BytesIO(content))
    assert table.records is not None
    assert table.records.count == 3 + 2 + 3
    assert [
        b"|".join(content[offset : offset + length] for offset, length in table.ranges(number))
        for number in (1, 2, 3)
    ] == [b"1a|1b", b"2a", b"3a|3b|3c"]


@given(
    parts=st.lists(st.binary(max_size=6), min_size=1, max_size=12),
    frames=st.integers(1, 14),
    table=st.one_of(
        st.binary(max_size=40),
        st.lists(st.integers(0, 100), max_size=12).map(lambda all_: pack(f"<{len(all_)}L", *all_)),
    ),
    extended=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 1 << 64)), max_size=12),
)
def test_tables_that_lie_make_no_index_that_does(
    parts: list[bytes], frames: int, table: bytes, extended: list[tuple[int, int]]
) -> None:
    tables = b"".join(
        element(tag, "OV", pack(f"<{len(extended)}Q", *(one[i] % (1 << 64) for one in extended)))
        for i, tag in enumerate((0x7FE00001, 0x7FE00002))
    )
    content = frames_file(*parts, frames=frames, table=table, before=tables)
    try:
        index = write_index(locate_frames(io.BytesIO(content)), len(content), 0.0)
    except Unprocessable:
        return
    found = read_back(index)
    pieces = [
        piece for number in range(1, found.number_of_frames + 1) for piece in found.ranges(number)
    ]
    # Every piece is a fragment, or its beginning; none comes twice, all in their order.
    delimiter = 8
    offset = len(content) - delimiter - sum(8 + len(part) for part in parts)
    places = {}
    for part in parts:
        places[offset + 8] = len(part)
        offset += 8 + len(part)
    assert [offset for offset, _ in pieces] == list(places)[: len(pieces)]
    assert all(length <= places[offset] for offset, length in pieces)


@given(data=st.data())
def test_a_spoilt_index_names_no_place_outside_the_file(data: st.DataObject) -> None:
    parts = [b"aa", b"bb", b"cc", b"dd"]
    content = frames_file(*parts, frames=2, table=pack("<2L", 0, 20))
    index = bytearray(write_index(locate_frames(io.BytesIO(content)), len(content), 0.0))
    for _ in range(data.draw(st.integers(1, 4))):
        index[data.draw(st.integers(0, len(index) - 1))] = data.draw(st.integers(0, 255))
    del index[data.draw(st.integers(0, len(index))) :]
    spoilt = bytes(index)
    header = IndexHeader.read(spoilt)
    if header is None:
        return
    records = FrameRecords.packed(spoilt[HEADER_BYTES:], len(content))
    for number in range(1, min(header.table(records).number_of_frames, 9) + 1):
        try:
            found = records.pieces(number)
        except BadRecord:
            continue
        assert all(offset + length <= len(content) for offset, length in found)
        assert len(found) <= records.count


@pytest.mark.parametrize(
    "spoil",
    [
        lambda index: index[:-1],
        lambda index: index + b"\0",
        lambda index: index[:-1] + bytes([index[-1] ^ 1]),
        lambda index: b"FRAMES\0\2" + index[8:],
        lambda index: index[: HEADER_BYTES - 1],
        lambda _index: b"",
    ],
    ids=["short", "long", "other bytes", "other form", "torn header", "empty"],
)
def test_only_a_whole_index_of_this_original_is_left_alone(spoil) -> None:  # type: ignore[no-untyped-def]
    content = frames_file(b"aa", b"bb", frames=2)
    index = write_index(locate_frames(io.BytesIO(content)), len(content), 2.25)
    assert is_whole_index(index, len(content), 2.25)
    assert not is_whole_index(index, len(content), 2.5)
    assert not is_whole_index(index, len(content) + 1, 2.25)
    assert not is_whole_index(spoil(index), len(content), 2.25)


def test_an_index_is_no_larger_than_its_fragments_are_many() -> None:
    content = frames_file(*[b""] * 5000, frames=2, table=pack("<2L", 0, 8 * 4000))
    index = write_index(locate_frames(io.BytesIO(content)), len(content), 0.0)
    assert len(index) == HEADER_BYTES + (2 + 5000) * RECORD_BYTES


@pytest.mark.parametrize(
    ("syntax", "wanted"),
    [
        (JPEG, True),
        ("1.2.840.10008.1.2.5", True),
        ("1.2.840.10008.1.2.4.90", True),
        ("1.2.840.10008.1.2.1", False),
        ("1.2.840.10008.1.2", False),
        ("1.2.840.10008.1.2.2", False),
        ("1.2.840.10008.1.2.1.99", False),
        ("1.2.840.10008.1.2.4.102", False),
        ("1.2.840.10008.1.2.4.94", False),
    ],
)
def test_an_index_is_for_what_is_in_fragments(syntax: str, wanted: bool) -> None:
    assert wants_index(syntax) is wanted


def test_number_of_frames_is_read_without_what_follows() -> None:
    file = io.BytesIO(frames_file(b"aa", frames=7, before=bytes([1] * 100)))
    assert declared_frames(file) == 7
    assert declared_frames(io.BytesIO(b"")) == 1
    assert declared_frames(io.BytesIO(part10(identifiers()))) == 1

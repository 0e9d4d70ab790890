"""The quick way to the identifiers finds what the plain walk over all elements finds."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacsless.dicom import text
from pacsless.dicom.elements import open_data_set, top_level
from pacsless.dicom.head import BeyondHead, Head
from pacsless.dicom.scan import INFLATE_LIMIT, Identifiers, ScanError, scan, scan_head
from pacsless.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dicom_files import (
    UNDEFINED,
    bundled,
    deflated,
    element,
    identifiers,
    implicit,
    samples,
)
from tests.made_up import FILES, KEYS, SYNTAXES, cut_out, data_sets, spoilt

HEAD = 128 * 1024
Answer = Identifiers | str


def plain(data_set: bytes, transfer_syntax: str, inflate_limit: int = INFLATE_LIMIT) -> Answer:
    """Look at every element in turn; the answer is what was found, or an error's code."""
    found: dict[int, bytes] = {}
    try:
        source, encoding = open_data_set(io.BytesIO(data_set), 0, transfer_syntax, inflate_limit)
        for tag, _, length, offset in top_level(source, encoding, 100_000):
            if tag > 0x0020000E and (tag >= 0x7FE00000 or all(uid in found for uid in KEYS[:4])):
                break
            if tag in KEYS and tag not in found:
                if length > 1024:
                    return "invalid-length"
                found[tag] = source.read(offset, length)
    except ScanError as error:
        return error.code
    encoding_of_text = text.encoding_of(found.get(KEYS[5], b""))
    values = [found.get(key, b"").rstrip(b"\0 ") for key in KEYS[:5]]
    return Identifiers(
        *(text.decode(value).strip(" ") for value in values[:4]),
        text.decode(values[4], encoding_of_text).strip(" "),
    )


def quick(data_set: bytes, transfer_syntax: str, inflate_limit: int = INFLATE_LIMIT) -> Answer:
    try:
        return scan(io.BytesIO(data_set), transfer_syntax, inflate_limit=inflate_limit)
    except ScanError as error:
        return error.code


def quick_head(head: bytes, transfer_syntax: str) -> Answer | None:
    try:
        return scan_head(head, transfer_syntax)
    except ScanError as error:
        return error.code


def agree(data_set: bytes, transfer_syntax: str, head: int) -> None:
    expected = plain(data_set, transfer_syntax)
    assert quick(data_set, transfer_syntax) == expected
    assert quick_head(data_set[:head], transfer_syntax) in (None, expected)


SAMPLES = [
    path
    for path in samples(
        "transfer-syntaxes", "odd", "charsets", "hostile", "multiframe", "seg-pm-sr"
    )
    if path.stat().st_size < 1 << 24
]


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.name)
def test_bundled_files_as_ever_and_cut_anywhere(path: Path) -> None:
    found = cut_out(path)
    assert found is not None
    data_set, transfer_syntax = found
    for head in (*range(200), *range(200, 4000, 61), HEAD):
        agree(data_set, transfer_syntax, head)
    for end in range(0, min(len(data_set), 3000), 37):
        agree(data_set[:end], transfer_syntax, HEAD)


@pytest.mark.skipif(not SAMPLES, reason="no shared samples")
def test_samples() -> None:
    for path in SAMPLES:
        if found := cut_out(path):
            agree(*found, HEAD)


@settings(max_examples=200)
@given(spoilt([]), st.integers(0, 4000), st.binary(max_size=30))
def test_made_up_data_sets_spoilt(
    given_one: tuple[bytes, str], head: int, continuation: bytes
) -> None:
    data_set, transfer_syntax = given_one
    agree(data_set, transfer_syntax, head)
    # A head's answer holds whatever comes next.
    agree(data_set[:head] + continuation, transfer_syntax, head)


@settings(max_examples=250)
@given(spoilt(FILES), st.integers(0, 8000))
def test_bundled_files_spoilt(given_one: tuple[bytes, str], head: int) -> None:
    agree(*given_one, head)


@settings(max_examples=60)
@given(data_sets(), st.integers(8, 3000), st.integers(0, 60), st.booleans())
def test_deflated_data_sets_under_limits(
    given_one: tuple[bytes, str], limit: int, where: int, flip: bool
) -> None:
    data = bytearray(deflated(given_one[0]))
    if flip and where < len(data):
        data[where] ^= 0x10
    for syntax in (DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, given_one[1]):
        assert quick(bytes(data), syntax, limit) == plain(bytes(data), syntax, limit)


def test_ordinary_data_sets_need_no_more_than_their_head() -> None:
    ordinary = 0
    for data_set, transfer_syntax in FILES:
        if transfer_syntax in SYNTAXES[:2] and len(data_set) > 10_000:
            answer = quick_head(data_set[:HEAD], transfer_syntax)
            assert answer == plain(data_set, transfer_syntax)
            ordinary += 1
    assert ordinary


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_will_do(kind: type) -> None:
    data_set = identifiers() + element(0x00280010, "US", b"\1\0") * 2
    assert scan_head(kind(data_set), EXPLICIT_VR_LITTLE_ENDIAN) == plain(
        data_set, EXPLICIT_VR_LITTLE_ENDIAN
    )


def test_a_head_does_not_tell_the_end() -> None:
    assert scan_head(identifiers(), EXPLICIT_VR_LITTLE_ENDIAN) is None
    assert scan_head(b"", EXPLICIT_VR_LITTLE_ENDIAN) is None
    assert scan_head(deflated(identifiers()), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN) is None
    with pytest.raises(BeyondHead):
        Head(b"1234").fill(2, 3)


def test_what_is_wrong_for_certain_is_an_error_at_once() -> None:
    too_long = element(0x00100020, "LO", b"", length=2000)
    no_item = element(0x00081140, "SQ", too_long + bytes(20), length=UNDEFINED)
    assert quick_head(too_long + bytes(20), EXPLICIT_VR_LITTLE_ENDIAN) == "invalid-length"
    assert quick_head(no_item, EXPLICIT_VR_LITTLE_ENDIAN) == "bad-sequence"


def test_limits_hold_though_elements_passed_over_are_not_counted() -> None:
    for size in (100_000, 100_001):
        many = element(0x00090000, "UL", b"") * (size - 5)
        data_set = many + identifiers() + element(0x00280010, "US", b"\1\0") * 2
        agree(data_set, EXPLICIT_VR_LITTLE_ENDIAN, len(data_set))
    assert plain(data_set, EXPLICIT_VR_LITTLE_ENDIAN) == "too-many-elements"


def test_the_first_of_equal_tags_counts_wherever_it_is() -> None:
    tail = element(0x00280010, "US", b"\1\0") * 2
    for first, second in ((b"A", b"B" * 70), (b"B" * 70, b"A")):
        twice = element(0x00100020, "LO", first) + element(0x00100020, "LO", second)
        answer = scan_head(twice + identifiers() + tail, EXPLICIT_VR_LITTLE_ENDIAN)
        assert answer is not None
        assert answer.patient_id == first.decode()


@pytest.mark.parametrize("write", [element, lambda tag, _, value: implicit(tag, value)])
def test_every_identifier_is_gathered(write: Callable[[int, str, bytes], bytes]) -> None:
    data_set = (
        write(0x00080005, "CS", b"GB18030 ")
        + write(0x00080016, "UI", b"1.1\0")
        + write(0x00080018, "UI", b"1.2\0")
        + write(0x00100020, "LO", "王-7 ".encode("gb18030"))
        + write(0x0020000D, "UI", b"1.3\0")
        + write(0x0020000E, "UI", b"1.4\0")
        + write(0x00280010, "US", b"\1\0") * 2
    )
    syntax = EXPLICIT_VR_LITTLE_ENDIAN
    assert scan_head(data_set, syntax) == Identifiers("1.1", "1.2", "1.3", "1.4", "王-7")

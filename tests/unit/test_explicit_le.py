"""The conversion to Explicit VR Little Endian, checked against pydicom's reading."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from pacsless.dicom.explicit_le import Limits, convert, swapped
from pacsless.dicom.part10 import file_meta
from pacsless.errors import Unprocessable
from tests.dicom_files import BUNDLED

DEFLATED = "1.2.840.10008.1.2.1.99"
WORDS = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")


def converted(data: bytes, limits: Limits | None = None) -> bytes:
    out = io.BytesIO()
    convert(io.BytesIO(data), out.write, limits=limits or Limits())
    return out.getvalue()


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data), force=True)


def values(ds: Dataset, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value but words, which pydicom gives in the file's byte order."""
    for element in ds:
        where = f"{path}/{element.tag}"
        if element.tag.element == 0:
            continue
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from values(item, f"{where}/{number}")
        elif element.VR not in WORDS:
            yield where, (element.VR, repr(element.value))


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_bigendian.dcm",
        "ExplVR_BigEnd.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "MR_small_expb.dcm",
        "liver_expb_1frame.dcm",
        "rtdose_expb.dcm",
        "rtdose_expb_1frame.dcm",
        "image_dfl.dcm",
        "MR_small_implicit.dcm",
        "CT_small.dcm",
        "nested_priv_SQ.dcm",
        "rtplan.dcm",
        "rtstruct.dcm",
    ],
)
def test_pydicom_reads_the_same(name: str) -> None:
    original = BUNDLED[name].read_bytes()
    before, after = read(original), read(converted(original))
    assert after.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    if "SOPInstanceUID" in before:
        assert after.file_meta.MediaStorageSOPInstanceUID == before.SOPInstanceUID
    assert dict(values(after)) == dict(values(before))
    if "BitsAllocated" in before and "PixelData" in before:
        assert np.array_equal(after.pixel_array, before.pixel_array)


def written(ds: Dataset, syntax: str) -> bytes:
    """Write with pydicom, in a transfer syntax of uncompressed bytes."""
    out = io.BytesIO()
    pydicom.dcmwrite(
        out,
        ds,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        force_encoding=True,
    )
    return file_meta("1.2.840.10008.5.1.4.1.1.7", "1.2.3", syntax) + out.getvalue()


def rich() -> Dataset:
    """One element of every kind of word, at two depths, and ambiguous VRs."""
    inner = Dataset()
    inner.PixelRepresentation = 1
    inner.SmallestImagePixelValue = -2
    inner.add_new(0x00041600, "UL", 0x01020304)
    inner.add_new(0x00189073, "FD", 1.25)
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.SOPInstanceUID = "1.2.3"
    ds.PatientName = "Yamada^Tarou"
    ds.FrameIncrementPointer = [0x00181063, 0x00181065]
    ds.PixelRepresentation = 0
    ds.SmallestImagePixelValue = 65534
    ds.add_new(0x00080301, "US", 7)
    ds.add_new(0x00110010, "LO", "ACME")
    ds.add_new(0x00111001, "SL", -5)
    ds.add_new(0x7FE00003, "UV", 2**63 + 1)
    ds.add_new(0x00660040, "OL", struct.pack("<L", 1))
    ds.SharedFunctionalGroupsSequence = [inner, Dataset()]
    ds.EnergyWindowInformationSequence = []
    return ds


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined_length", [True, False])
def test_every_kind_of_word(syntax: str, undefined_length: bool) -> None:
    ds = rich()
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = undefined_length
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined_length
    if syntax == ImplicitVRLittleEndian:
        del ds[0x00111001]  # implicit VR does not say what a private value is
    elif syntax == ExplicitVRBigEndian:
        ds[0x00660040].value = struct.pack(">L", 1)
    found = dict(values(read(converted(written(ds, syntax)))))
    assert found == dict(values(ds))
    assert read(converted(written(ds, syntax)))[0x00660040].value == b"\1\0\0\0"


def test_bytes_of_unknown_meaning_are_left_alone() -> None:
    ds = rich()
    ds.add_new(0x00111002, "UN", b"\x01\x02\x03\x04")
    assert read(converted(written(ds, ExplicitVRBigEndian)))[0x00111002].value == b"\1\2\3\4"


def test_an_implicit_value_too_long_for_its_vr_becomes_unknown() -> None:
    ds = Dataset()
    ds.SOPInstanceUID = "1.2.3"
    ds.add_new(0x00104000, "LT", "x" * 70_000)
    data = written(ds, ImplicitVRLittleEndian)
    element = pydicom.dcmread(io.BytesIO(converted(data))).get_item(0x00104000)
    assert element is not None
    assert element.value == b"x" * 70_000


def test_a_deflated_data_set_is_inflated_and_nothing_else() -> None:
    plain = written(rich(), "1.2.840.10008.1.2.1")
    body = plain[len(file_meta("1.2.840.10008.5.1.4.1.1.7", "1.2.3", "1.2.840.10008.1.2.1")) :]
    packer = zlib.compressobj(wbits=-15)
    deflated = packer.compress(body) + packer.flush()
    data = file_meta("1.2.840.10008.5.1.4.1.1.7", "1.2.3", DEFLATED) + deflated
    assert converted(data) == plain


def test_a_deflate_bomb_is_refused_while_it_is_small() -> None:
    packer = zlib.compressobj(wbits=-15)
    bomb = packer.compress(struct.pack("<HH2sxxL", 0x0008, 0x0016, b"OB", 16 << 20))
    bomb += b"".join(packer.compress(bytes(1 << 20)) for _ in range(16)) + packer.flush()
    data = file_meta("1.2", "1.2.3", DEFLATED) + bomb
    out = io.BytesIO()
    with pytest.raises(Unprocessable, match="inflate-limit"):
        convert(io.BytesIO(data), out.write, limits=Limits(inflated_bytes=2 << 20))
    assert out.tell() <= 3 << 20


def sequences(depth: int) -> bytes:
    """Big endian sequences of undefined length in one another, never closed."""
    opened = struct.pack(">HH2sxxL", 0x0040, 0xA730, b"SQ", 0xFFFFFFFF)
    opened += struct.pack(">HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    first = struct.pack(">HH2sH", 0x0008, 0x0018, b"UI", 6) + b"1.2.3\0"
    return file_meta("1.2", "1.2.3", ExplicitVRBigEndian) + first + opened * depth


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (sequences(2000), "too-deep"),
        (sequences(3), "truncated"),
        (BUNDLED["MR_small_bigendian.dcm"].read_bytes()[:-100], "truncated"),
        (BUNDLED["JPEG2000.dcm"].read_bytes(), "compressed"),
        (b"", "not-dicom"),
        (
            sequences(0)
            + struct.pack(">HH2sxxL", 0x0040, 0xA730, b"SQ", 16)
            + struct.pack(">HHL", 0xFFFE, 0xE000, 400),
            "invalid-length",
        ),
        (sequences(0) + struct.pack(">HHL", 0xFFFE, 0xE00D, 0), "bad-sequence"),
    ],
    ids=["deep", "open", "short", "compressed", "empty", "overlong", "stray"],
)
def test_a_broken_file_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        converted(data)
    assert refused.value.code == code


def test_too_many_elements_are_refused() -> None:
    data = BUNDLED["MR_small_bigendian.dcm"].read_bytes()
    with pytest.raises(Unprocessable, match="too-many-elements"):
        converted(data, Limits(elements=10))


@pytest.mark.parametrize("word", [1, 2, 4, 8])
def test_swapping_twice_changes_nothing(word: int) -> None:
    data = bytes(range(29))
    assert swapped(swapped(data, word), word) == data
    assert swapped(data, word)[:word] == data[:word][::-1]


def test_a_large_value_is_copied_in_chunks() -> None:
    ds = rich()
    ds.BitsAllocated = 16
    ds.add_new(0x7FE00010, "OW", np.arange(1 << 20, dtype=">u2").tobytes())
    written_sizes: list[int] = []
    out = bytearray()

    def write(chunk: bytes) -> None:
        written_sizes.append(len(chunk))
        out.extend(chunk)

    convert(io.BytesIO(written(ds, ExplicitVRBigEndian)), write)
    assert max(written_sizes) <= 1 << 20
    pixels = np.frombuffer(read(bytes(out)).PixelData, "<u2")
    assert np.array_equal(pixels, np.arange(1 << 20, dtype="<u2"))

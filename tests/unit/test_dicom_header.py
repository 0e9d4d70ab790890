"""Headers: as lenient as pydicom when reading, and more when values are bad, under limits."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement

from pacsless.dicom.dicom_json import to_dicom_json
from pacsless.dicom.elements import next_element
from pacsless.dicom.header import DEFAULT_LIMITS, Header, Limits, _Reader, read_header
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.scan import ScanError, scan
from pacsless.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
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
from tests.made_up import FILES, spoilt

SECRET = b"SECRET^PATIENT"


def read(
    data_set: bytes,
    transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN,
    limits: Limits = DEFAULT_LIMITS,
) -> Header:
    return read_header(part10(data_set, transfer_syntax), limits=limits)


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_has_the_elements_pydicom_has(path: Path) -> None:
    with path.open("rb") as file:
        header = read_header(file)
    if header.warnings:
        assert path.name == "rtplan_truncated.dcm"
        return
    data_set = dcmread(path, force=True, stop_before_pixels=True)
    ours = {*header.keys(), *header.bulk} - {0x7FE00008, 0x7FE00009, 0x7FE00010}
    assert ours == set(data_set.keys())
    for keyword in ("PatientName", "StudyDate", "InstanceNumber", "PixelSpacing", "Modality"):
        assert header.get(keyword) == data_set.get(keyword), keyword
    # Padding of a value among several is not significant either.
    assert list(header.get("ImageType") or ()) == [
        value.strip() for value in data_set.get("ImageType") or ()
    ]


def test_bad_values_neither_raise_nor_warn_nor_get_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data_set = identifiers() + b"".join(
        (
            element(0x00080020, "DA", b"1997.04.24"),
            element(0x00100010, "PN", SECRET + b"\xff\x00\x07"),
            element(0x00180050, "DS", b"SECRET"),
            element(0x00180060, "DS", b"120 \\ SECRET"),
            element(0x00200013, "IS", b"1.5e3x"),
            element(0x00201208, "IS", b"7.0 "),
            element(0x00280009, "AT", b"\x18\0\x63\x10"),
            element(0x00280010, "US", b"\1"),
            element(0x00280011, "US", b"\1\0\2\0"),
            element(0x00280030, "DS", b"0.5\\0.25"),
            element(0x00281050, "ZZ", b"strange?"),
        )
    )
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        header = read(data_set)
        assert header.StudyDate == "1997.04.24"
        assert str(header.PatientName).startswith("SECRET^PATIENTÿ\N{REPLACEMENT CHARACTER}")
        assert header.PatientName.family_name == "SECRET"
        assert header.SliceThickness is None
        assert header.KVP is None
        assert header.InstanceNumber is None
        assert header.NumberOfStudyRelatedInstances == 7
        assert header.FrameIncrementPointer == 0x00181063
        assert header.Rows is None
        assert header.Columns == [1, 2]
        assert header.PixelSpacing == [0.5, 0.25]
        assert header[0x00281050].VR == "UN"
        assert [item.tag for item in header]
        assert "SECRET" in str(header)
    assert "SECRET" not in caplog.text


def test_values_can_be_assigned() -> None:
    header = read(identifiers())
    header.PatientID = "7"
    assert header.PatientID == "7"
    assert header.get("PatientName") is None
    assert "PatientName" not in header


def test_large_binary_values_and_pixels_stay_in_the_file() -> None:
    data_set = b"".join(
        (
            identifiers(),
            element(0x00281201, "OW", bytes(4096)),
            element(0x00282000, "OB", bytes(4096)),
            element(0x00420011, "OB", b"small"),
            element(0x7FE00010, "OW", b"\1\2" * 8),
            element(0xFFFCFFFC, "OB", bytes(16)),
        )
    )
    file = part10(data_set)
    header = read_header(file)
    assert len(header.RedPaletteColorLookupTableData) == 4096
    assert header.EncapsulatedDocument == b"small"
    assert set(header.bulk) == {0x00282000, 0x7FE00010}
    profile, pixels = header.bulk[0x00282000], header.bulk[0x7FE00010]
    assert (profile.vr, profile.length) == ("OB", 4096)
    assert file[pixels.offset : pixels.offset + 16] == b"\1\2" * 8
    assert "PixelData" not in header
    assert header.get("ICCProfile") is None


def test_encapsulated_pixels_have_no_single_length() -> None:
    icon = item(fragments(b"\xff\xd8\xff\xd9"))
    header = read(
        identifiers() + sequence(0x00880200, icon) + fragments(b"ab"), "1.2.840.10008.1.2.4.50"
    )
    assert header.bulk[0x7FE00010].length is None
    assert header.IconImageSequence[0].bulk[0x7FE00010].length is None


@pytest.mark.parametrize("undefined", [True, False])
def test_sequences_inherit_character_set_and_pixel_representation(undefined: bool) -> None:
    name = "王^小东".encode()
    inner = item(element(0x00100010, "PN", name), undefined=undefined)
    own = item(
        element(0x00080005, "CS", b"GB18030 ") + element(0x00100010, "PN", "王".encode("gb18030")),
        undefined=undefined,
    )
    header = read(
        element(0x00080005, "CS", b"ISO_IR 192")
        + identifiers()
        + element(0x00280103, "US", b"\1\0")
        + sequence(0x00400275, inner, own, undefined=undefined)
    )
    first, second = header.RequestAttributesSequence
    assert str(first.PatientName) == "王^小东"
    assert str(second.PatientName) == "王"
    assert first.pixel_representation == 1


def test_a_un_of_known_vr_is_read_as_that() -> None:
    inside = implicit(0x00080100, b"CODE") + implicit(0x00080104, b"Meaning ")
    header = read(
        identifiers()
        + element(0x00280010, "UN", b"\x00\x02")
        + element(0x00400008, "UN", implicit(0xFFFEE000, inside))
        + element(0x00400260, "UN", item(inside) + implicit(0xFFFEE0DD, b""), length=UNDEFINED)
        + element(0x00409096, "UN", b"no sequence!")
    )
    assert header.Rows == 512
    assert header.ScheduledProtocolCodeSequence[0].CodeValue == "CODE"
    assert header.PerformedProtocolCodeSequence[0].CodeMeaning == "Meaning"
    assert header[0x00409096].value == b"no sequence!"


def test_private_elements_are_read_by_their_creator() -> None:
    creator = implicit(0x00290010, b"SIEMENS CSA HEADER")
    header = read(
        implicit(0x00080016, b"1.2\0")
        + implicit(0x0020000E, b"1.3\0")
        + creator
        + implicit(0x00291008, b"IMAGE NUM 4 ")
        + implicit(0x00291108, b"unknown "),
        IMPLICIT_VR_LITTLE_ENDIAN,
    )
    assert header[0x00291008].VR == "CS"
    assert header[0x00291108].VR == "UN"


def test_the_first_of_two_equal_tags_counts_as_for_scan() -> None:
    data_set = identifiers() + element(0x00080018, "UI", b"6.6.6\0")
    header = read(data_set)
    assert header.SOPInstanceUID == "1.2.3.4.0001"
    assert header.warnings == ["(0008,0018) is there twice"]


def test_a_data_set_cut_short_after_its_uids_is_read_as_far_as_it_goes() -> None:
    whole = identifiers() + element(0x00200010, "SH", b"7 ") + element(0x00204000, "LT", SECRET)
    header = read(whole[:-3])
    assert header.StudyID == "7"
    assert "ImageComments" not in header
    [warning] = header.warnings
    assert warning.startswith("truncated")
    with pytest.raises(ScanError) as caught:
        read(identifiers()[:-10])
    assert caught.value.code == "truncated"


def nested(depth: int, *, undefined: bool) -> bytes:
    data_set = b""
    for _ in range(depth):
        data_set = sequence(0x00081140, item(data_set, undefined=undefined), undefined=undefined)
    return identifiers() + data_set


@pytest.mark.parametrize("undefined", [True, False])
def test_depth_is_limited(undefined: bool) -> None:
    assert not read(nested(64, undefined=undefined)).warnings
    with pytest.raises(ScanError) as caught:
        read(nested(65, undefined=undefined))
    assert caught.value.code == "too-deep"


@pytest.mark.parametrize(
    ("data_set", "limits", "code"),
    [
        (sequence(0x00081140, *[item(b"")] * 11), Limits(items=10), "too-many-elements"),
        (element(0x00204000, "LT", b"") * 11, Limits(elements=10), "too-many-elements"),
        (element(0x00204000, "UT", b"x" * 999), Limits(header_bytes=800), "too-large"),
    ],
)
def test_size_is_limited(data_set: bytes, limits: Limits, code: str) -> None:
    with pytest.raises(ScanError) as caught:
        read(identifiers() + data_set, limits=limits)
    assert caught.value.code == code


def test_deflated_data_sets_are_inflated_up_to_the_pixels_only() -> None:
    image = deflated(identifiers() + element(0x7FE00010, "OW", bytes(8 << 20)))
    header = read(image, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, Limits(inflated_bytes=1 << 20))
    assert header.deflated
    assert header.bulk[0x7FE00010].length == 8 << 20
    bomb = deflated(identifiers() + element(0x00420011, "OB", bytes(8 << 20)) + identifiers())
    with pytest.raises(ScanError) as caught:
        read(bomb, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, Limits(inflated_bytes=1 << 20))
    assert caught.value.code == "inflate-limit"


def test_encoding_facts_are_those_of_the_bytes() -> None:
    header = read(identifiers(), EXPLICIT_VR_BIG_ENDIAN)
    assert header.transfer_syntax == EXPLICIT_VR_BIG_ENDIAN
    assert (header.implicit_vr, header.little_endian, header.deflated) == (False, True, False)


@pytest.mark.skipif(not samples("hostile"), reason="no shared samples")
def test_what_the_gateway_takes_can_be_read() -> None:
    refused = {}
    for path in samples("charsets", "odd", "hostile"):
        content = path.read_bytes()
        file = io.BytesIO(content)
        try:
            scan(file, split_part10(file).transfer_syntax)
        except ScanError:
            continue
        try:
            read_header(content)
        except ScanError as error:
            refused[path.name] = error.code
    assert refused == {"nested_sequences_2000.dcm": "too-deep"}


IN_LITTLE_MEMORY = """
import resource, sys
from pacsless.dicom.dicom_json import to_dicom_json
from pacsless.dicom.frames import locate_frames
from pacsless.dicom.header import read_header
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.scan import scan
from pacsless.errors import PacslessError
from pacsless.strict_json import dumps
resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
def identifiers(file):
    file.seek(split_part10(file).dataset_offset)
    scan(file, split_part10(file).transfer_syntax)
def document(file):
    dumps(to_dicom_json(read_header(file), str))
def frames(file):
    table = locate_frames(file)
    for number in range(1, min(table.number_of_frames, 1000) + 1):
        table.ranges(number)
for path in sys.argv[1:]:
    for work in (identifiers, document, frames):
        with open(path, "rb") as file:
            try:
                work(file)
            except PacslessError:
                pass
print("done")
"""


@pytest.mark.skipif(not samples("hostile"), reason="no shared samples")
def test_hostile_files_need_little_memory_and_time() -> None:
    paths = [str(path) for path in samples("hostile")]
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, *paths],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.stdout == "done\n", ran.stderr


def told(data_set: bytes, transfer_syntax: str, limits: Limits) -> tuple[object, ...] | str:
    """Everything a header says, or the error it ends in."""
    try:
        header = read(data_set, transfer_syntax, limits)
    except ScanError as error:
        return str(error)
    return header.warnings, to_dicom_json(header, str), raw(header)


def raw(header: Header) -> list[object]:
    """A header's elements as they were read, and those of its items."""
    return [
        header.bulk,
        *(
            tuple(one)
            if isinstance(one, RawDataElement)
            else (
                one.tag,
                one.file_tell,
                one.is_undefined_length,
                [raw(item) for item in one.value],
            )
            for one in header.raw_elements()
        ),
    ]


@settings(max_examples=150)
@given(spoilt([]) | spoilt(FILES), st.integers(1, 40), st.integers(0, 3000))
def test_elements_read_in_runs_are_those_read_one_by_one(
    given_one: tuple[bytes, str], elements: int, size: int
) -> None:
    for limits in (DEFAULT_LIMITS, Limits(elements=elements), Limits(header_bytes=size)):
        in_runs = told(*given_one, limits)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_Reader, "_read_run", lambda *_: False)
            assert told(*given_one, limits) == in_runs


def test_most_elements_are_read_in_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    monkeypatch.setattr(
        "pacsless.dicom.header.next_element",
        lambda *place: looked_at.append(place) or next_element(*place),
    )
    with open(get_testdata_file("CT_small.dcm"), "rb") as file:
        header = read_header(file)
    assert len(looked_at) < len(header) / 5

"""Identifiers found without parsing, in good files, odd files and no files at all."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info

from pacsless.dicom.part10 import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    file_meta,
    split_part10,
)
from pacsless.dicom.scan import Identifiers, ScanError, scan
from pacsless.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dicom_files import (
    SOP_CLASS,
    UNDEFINED,
    bundled,
    deflated,
    element,
    identifiers,
    implicit,
    item,
    part10,
    samples,
    sequence,
)

KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
)
SECRET = b"SECRET^PATIENT"


def scan_file(path: Path) -> Identifiers:
    with path.open("rb") as file:
        return scan(file, split_part10(file).transfer_syntax)


def scan_bytes(data_set: bytes, transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> Identifiers:
    return scan(io.BytesIO(data_set), transfer_syntax)


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_finds_what_pydicom_finds(path: Path) -> None:
    data_set = dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(KEYWORDS))
    expected = tuple(str(data_set.get(keyword) or "").strip() for keyword in KEYWORDS)
    found = scan_file(path)
    assert expected == (
        found.sop_class_uid,
        found.sop_instance_uid,
        found.study_instance_uid,
        found.series_instance_uid,
        found.patient_id,
    )


def test_reads_from_where_the_file_is_positioned() -> None:
    file = io.BytesIO(b"12345" + identifiers())
    file.seek(5)
    assert scan(file, EXPLICIT_VR_LITTLE_ENDIAN).sop_instance_uid == "1.2.3.4.0001"


def test_the_rest_may_be_missing() -> None:
    found = scan_bytes(identifiers() + element(0x7FE00010, "OW", b"", length=1 << 31))
    assert found.series_instance_uid == "1.2.3.4"


def test_missing_identifiers_are_empty_and_searched_for_to_the_end() -> None:
    late = element(0x0020000E, "UI", b"1.9\0")
    data_set = element(0x00080016, "UI", SOP_CLASS.encode() + b"\0")
    found = scan_bytes(data_set + element(0x00280010, "US", b"\1\0") + late)
    assert found == Identifiers(SOP_CLASS, "", "", "1.9", "")


@pytest.mark.parametrize("undefined", [True, False])
def test_sequences_before_are_skipped(undefined: bool) -> None:
    decoy = element(0x0020000D, "UI", b"6.6.6\0")
    inner = sequence(0x00081115, item(decoy, undefined=undefined), undefined=undefined)
    outer = sequence(0x00081110, item(inner + decoy, undefined=undefined), undefined=undefined)
    assert scan_bytes(outer + identifiers()).study_instance_uid == "1.2.3"


def test_unknown_elements_of_undefined_length_are_implicit_inside() -> None:
    inside = item(implicit(0x00080100, b"CODE"), undefined=True)
    unknown = element(0x00091010, "UN", inside + implicit(0xFFFEE0DD, b""), length=UNDEFINED)
    assert scan_bytes(unknown + identifiers()).study_instance_uid == "1.2.3"


def test_thousands_of_nested_sequences_do_not_recurse() -> None:
    depth = 5_000
    opened = (
        element(0x00081140, "SQ", b"", length=UNDEFINED)
        + implicit(0xFFFEE000, b"", length=UNDEFINED)
    ) * depth
    closed = (implicit(0xFFFEE00D, b"") + implicit(0xFFFEE0DD, b"")) * depth
    assert scan_bytes(opened + closed + identifiers()).study_instance_uid == "1.2.3"
    with pytest.raises(ScanError, match="truncated"):
        scan_bytes(opened)


def big_endian() -> bytes:
    return element(0x00080016, "UI", b"1.2\0", order=">") + element(
        0x0020000D, "UI", b"1.2.3\0", order=">"
    )


def little_implicit() -> bytes:
    return implicit(0x00080016, b"1.2\0") + implicit(0x0020000D, b"1.2.3\0")


@pytest.mark.parametrize(
    "declared",
    [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, "1.2.3"],
)
@pytest.mark.parametrize("data_set", [big_endian(), little_implicit(), identifiers()])
def test_a_transfer_syntax_that_lies_is_seen_through(data_set: bytes, declared: str) -> None:
    assert scan_bytes(data_set, declared).study_instance_uid == "1.2.3"


@pytest.mark.parametrize("wrapper", [deflated, zlib.compress])
def test_deflated_data_sets_are_inflated_only_as_far_as_needed(
    wrapper: Callable[[bytes], bytes],
) -> None:
    bomb = identifiers() + element(0x7FE00010, "OW", bytes(16 << 20))
    found = scan_bytes(wrapper(bomb), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    assert found.series_instance_uid == "1.2.3.4"
    hidden = element(0x00080001, "UN", bytes(8 << 20)) + identifiers()
    with pytest.raises(ScanError) as caught:
        scan_bytes(wrapper(hidden), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    assert caught.value.code == "inflate-limit"


def test_corrupt_deflate_is_an_error() -> None:
    broken = bytearray(deflated(identifiers() * 50))
    broken[4:40] = b"\xff" * 36
    with pytest.raises(ScanError) as caught:
        scan_bytes(bytes(broken), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    assert caught.value.code in {"bad-deflate", "truncated"}


@pytest.mark.parametrize(
    ("character_set", "value", "patient_id"),
    [
        (b"", b"A1 ", "A1"),
        (b"ISO_IR 192", "王-7".encode(), "王-7"),
        (b"GB18030 ", "王-7 ".encode("gb18030"), "王-7"),
        (b"ISO_IR 100", "Ü7".encode("latin_1"), "Ü7"),
        (b"", "王7".encode(), "王7"),
        (b"", b"\xfc7", "ü7"),
        (b"ISO_IR 192", b"\xfc7", "\N{REPLACEMENT CHARACTER}7"),
        (b"NONSENSE", b"A1", "A1"),
        (b"", b"A\x001\x07", "A\N{REPLACEMENT CHARACTER}1\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_patient_id_is_decoded_leniently(
    character_set: bytes, value: bytes, patient_id: str
) -> None:
    data_set = element(0x00080005, "CS", character_set) + element(0x00100020, "LO", value)
    assert scan_bytes(data_set + identifiers()).patient_id == patient_id


def test_errors_hold_no_values() -> None:
    name = element(0x00100010, "PN", SECRET, length=65534)
    patient_id = element(0x00100020, "LO", SECRET * 100)
    for data_set in (name, patient_id, patient_id[:100], SECRET):
        with pytest.raises(ScanError) as caught:
            scan_bytes(data_set)
        assert "SECRET" not in str(caught.value)
        assert "SECRET" not in repr(caught.value)


@settings(max_examples=300)
@given(
    st.binary(max_size=200),
    st.binary(max_size=12),
    st.integers(0, 200),
    st.sampled_from(
        [
            IMPLICIT_VR_LITTLE_ENDIAN,
            EXPLICIT_VR_LITTLE_ENDIAN,
            DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
            EXPLICIT_VR_BIG_ENDIAN,
        ]
    ),
)
def test_any_bytes_give_identifiers_or_an_error(
    noise: bytes, patch: bytes, where: int, transfer_syntax: str
) -> None:
    patched = bytearray(sequence(0x00081110, item(b""), undefined=True) + identifiers())
    patched[where : where + len(patch)] = patch
    for data_set in (noise, bytes(patched)):
        try:
            found = scan_bytes(data_set, transfer_syntax)
        except ScanError:
            continue
        assert isinstance(found.patient_id, str)


def test_file_meta_is_what_pydicom_writes() -> None:
    ours = file_meta(SOP_CLASS, "1.2.3.4.5", EXPLICIT_VR_LITTLE_ENDIAN)
    meta = dcmread(io.BytesIO(ours + identifiers())).file_meta
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.4.5"
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    theirs = DicomBytesIO()
    theirs.is_little_endian = True
    theirs.is_implicit_VR = False
    write_file_meta_info(theirs, meta)
    assert ours == bytes(128) + b"DICM" + theirs.getvalue()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data,
        lambda data: data[128:],
        lambda data: data[132:],
        lambda data: data[:140] + b"\xff\xff\xff\x7f" + data[144:],
        lambda data: data[:132] + data[144:],
        lambda data: b"MZ" + data[2:],
        lambda data: b"\x08\0" + data[2:],
    ],
    ids=["whole", "no preamble", "no prefix", "length lies", "no length", "exe", "group 8"],
)
def test_data_sets_are_found_in_spoilt_files(spoil: Callable[[bytes], bytes]) -> None:
    file = io.BytesIO(spoil(part10(identifiers(), DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)))
    found = split_part10(file)
    assert file.read() == identifiers()
    assert found.transfer_syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
    assert found.sop_instance_uid == "1.2.3.4.5"
    assert found.has_meta


def test_a_bare_data_set_is_recognised() -> None:
    for data_set, transfer_syntax in (
        (identifiers(), EXPLICIT_VR_LITTLE_ENDIAN),
        (little_implicit(), IMPLICIT_VR_LITTLE_ENDIAN),
        (big_endian(), EXPLICIT_VR_BIG_ENDIAN),
    ):
        found = split_part10(io.BytesIO(data_set))
        assert (found.transfer_syntax, found.dataset_offset) == (transfer_syntax, 0)
        assert not found.has_meta


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "not-dicom"),
        (b"<!DOCTYPE html><html></html>", "not-dicom"),
        (b"PK\x03\x04" + bytes(300), "not-dicom"),
        (bytes(128) + b"DICM", "truncated"),
        (part10(b""), "truncated"),
        (part10(b"")[:200], "truncated"),
    ],
)
def test_other_files_are_refused(content: bytes, code: str) -> None:
    with pytest.raises(ScanError) as caught:
        split_part10(io.BytesIO(content))
    assert caught.value.code == code


@pytest.mark.skipif(not samples("hostile"), reason="no shared samples")
def test_every_sample_is_scanned_or_refused() -> None:
    refused = set()
    for path in samples("charsets", "odd", "hostile", "multiframe", "documents", "video", "wsi"):
        try:
            scan_file(path)
        except ScanError:
            refused.add(path.name)
    assert refused == {
        "empty.dcm",
        "html_named.dcm",
        "no_meta.dcm",
        "only_prefix.dcm",
        "pn_length_65534.dcm",
        "truncated_in_meta.dcm",
        "uid_304_chars.dcm",
        "zip_named.dcm",
    }

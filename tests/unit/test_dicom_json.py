"""DICOM JSON (PS3.18 Annex F): pydicom's own on clean files, and better on the others."""

from __future__ import annotations

import io
import json
from base64 import b64decode
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from pydicom import Dataset

from pacsless.dicom.dicom_json import find_bulk_data, read_bulk_data, to_dicom_json
from pacsless.dicom.header import BulkValue, read_header
from pacsless.dicom.scan import ScanError
from pacsless.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from pacsless.errors import NotFound, Unprocessable
from pacsless.strict_json import dumps
from tests import pydicom_reads
from tests.dicom_files import (
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


def uri(path: str) -> str:
    return f"bulkdata/{path}"


def document_of(content: bytes, warnings: list[str] | None = None) -> dict[str, Any]:
    return to_dicom_json(read_header(content), uri, warnings=warnings)


def convert(data_set: bytes, transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> dict[str, Any]:
    """Return the document of a data set, sent through JSON, without the UIDs."""
    document = document_of(part10(data_set, transfer_syntax))
    again: dict[str, Any] = json.loads(dumps(document))
    assert again == document
    return {
        tag: attribute
        for tag, attribute in again.items()
        if tag not in {"00080016", "00080018", "0020000D", "0020000E"}
    }


def one(vr: str, value: bytes, tag: int = 0x00409999) -> Any:
    """Return the JSON of one element; ``tag`` is one no dictionary knows."""
    return convert(identifiers() + element(tag, vr, value))[f"{tag:08X}"]


FILES = [
    path
    for path in (
        *bundled(),
        *samples("charsets", "documents", "multiframe", "odd", "seg-pm-sr"),
        *samples("transfer-syntaxes", "video", "wsi"),
    )
    if path.name != "no_meta.dcm"  # it begins with a stray byte
]


def differences(path: Path) -> list[str]:
    """Tags of what pydicom makes something else of, but what stays in the file."""
    header = read_header(path.read_bytes())
    ours = to_dicom_json(header, uri, inline_limit=1 << 30)
    theirs = pydicom_reads.dicom_json(path)
    return [
        tag
        for tag in sorted((set(ours) | set(theirs)) - {f"{tag:08X}" for tag in header.bulk})
        if tag not in pydicom_reads.PIXELS
        and "BulkDataURI" not in str(ours.get(tag))
        and (
            tag not in ours
            or tag not in theirs
            or pydicom_reads.comparable(ours[tag]) != pydicom_reads.comparable(theirs[tag])
        )
    ]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.name not in pydicom_reads.EXPLAINED],
    ids=lambda path: path.name,
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_is_what_pydicom_makes_of_it(path: Path) -> None:
    assert differences(path) == []


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.name in pydicom_reads.EXPLAINED],
    ids=lambda path: path.name,
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_what_is_explained_does_differ(path: Path) -> None:
    try:
        assert differences(path)
    except (OSError, ValueError):
        assert pydicom_reads.EXPLAINED[path.name] == "pydicom raises"


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_pydicom_reads_it_back(path: Path) -> None:
    if path.name in pydicom_reads.EXPLAINED:
        return
    document = document_of(path.read_bytes())
    again = Dataset.from_json(json.loads(dumps(document)), lambda *_: b"")
    tags = list(again.keys())
    assert [f"{tag:08X}" for tag in tags] == sorted(document)


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("CS", b" A \\\\B ", ["A", None, "B"]),
        ("LO", b" a\\b ", ["a", "b"]),
        ("LT", b" one\\two\r\n ", [" one\\two\r\n"]),
        ("UR", b"http://x/\\ ", ["http://x/\\"]),
        ("UI", b"1.2\\1.3\0", ["1.2", "1.3"]),
        ("DA", b"1997.04.24", ["1997.04.24"]),
        ("AT", pack("<4H", 0x18, 0x63, 0x7FE0, 0x10), ["00180063", "7FE00010"]),
        ("US", b"\xff\xff\1\0", [65535, 1]),
        ("SS", b"\xff\xff", [-1]),
        ("SL", pack("<l", -5), [-5]),
        ("FL", pack("<f", 0.5), [0.5]),
        ("FD", pack("<2d", 1e300, -0.1), [1e300, -0.1]),
        ("SV", pack("<2q", 2**53, -(2**53) - 1), [2**53, str(-(2**53) - 1)]),
        ("UV", pack("<2Q", 7, 2**64 - 1), [7, str(2**64 - 1)]),
        ("IS", b"12\\ -3\\\\+4 ", [12, -3, None, 4]),
        ("IS", b"99999999999999999999 ", ["99999999999999999999"]),
        ("DS", b"1.50\\ -2e-3\\7 ", [1.5, -0.002, 7]),
        ("PN", b"A^B=C^D=E ", [{"Alphabetic": "A^B", "Ideographic": "C^D", "Phonetic": "E"}]),
        ("PN", b"==E ", [{"Phonetic": "E"}]),
        ("PN", b" = \\A ", [None, {"Alphabetic": "A"}]),
        ("PN", b"A\\\\B ", [{"Alphabetic": "A"}, None, {"Alphabetic": "B"}]),
    ],
)
def test_values_by_vr(vr: str, value: bytes, expected: list[Any]) -> None:
    assert one(vr, value) == {"vr": vr, "Value": expected}


@pytest.mark.parametrize("vr", ["CS", "DS", "IS", "PN", "OB", "US", "UT", "SQ", "UN", "AT", "FD"])
def test_empty_elements_have_no_value(vr: str) -> None:
    assert one(vr, b"") == {"vr": vr}


@pytest.mark.parametrize(
    ("vr", "value", "expected", "fault"),
    [
        ("IS", b"1.5e3x", ["1.5e3x"], "not a number, as text"),
        ("IS", b"1.5 ", [1.5], "not an integer"),
        ("DS", b"NaN\\1 ", ["NaN", 1], "not a number, as text"),
        ("DS", b"1e999 ", ["1e999"], "not a number, as text"),
        ("DS", b"1,5 ", ["1,5"], "not a number, as text"),
        ("US", b"\1\0\2", [1], "not a whole number of values"),
        ("FD", b"\1\0\2", None, "not a whole number of values"),
    ],
)
def test_values_that_are_not_what_they_should_be(
    vr: str, value: bytes, expected: list[Any] | None, fault: str
) -> None:
    warnings: list[str] = []
    content = part10(identifiers() + element(0x00409999, vr, value))
    document = document_of(content, warnings)
    assert document["00409999"].get("Value") == expected
    assert warnings == [f"00409999: {fault}"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_json_has_not_are_referred_to(number: float) -> None:
    value = pack("<2d", number, 1.0)
    content = part10(identifiers() + element(0x00720074, "FD", value))
    header = read_header(content)
    assert to_dicom_json(header, uri)["00720074"] == {
        "vr": "FD",
        "BulkDataURI": "bulkdata/00720074",
    }
    assert find_bulk_data(header, "00720074") == value


def test_binary_is_inline_when_small_and_palettes_always() -> None:
    document = convert(
        identifiers()
        + element(0x00281201, "OW", b"\1\2" * 4096)
        + element(0x00281221, "OW", b"\1\2" * 4096)
        + element(0x00282000, "OB", bytes(1026))
        + element(0x00420011, "OB", bytes(1024))
        + element(0x7FE00010, "OB", b"\1\2")
    )
    assert b64decode(document["00281201"]["InlineBinary"]) == b"\1\2" * 4096
    assert "InlineBinary" in document["00281221"]
    assert document["00282000"] == {"vr": "OB", "BulkDataURI": "bulkdata/00282000"}
    assert b64decode(document["00420011"]["InlineBinary"]) == bytes(1024)
    assert document["7FE00010"] == {"vr": "OB", "BulkDataURI": "bulkdata/7FE00010"}


def test_an_inline_limit_may_be_smaller_than_the_header_s() -> None:
    header = read_header(part10(identifiers() + element(0x00420011, "OB", b"12345678")))
    document = to_dicom_json(header, uri, inline_limit=4)
    assert document["00420011"]["BulkDataURI"] == "bulkdata/00420011"
    assert find_bulk_data(header, "00420011") == b"12345678"


@pytest.mark.parametrize(
    ("vr", "size"), [("OW", 2), ("OF", 4), ("OL", 4), ("OD", 8), ("OV", 8), ("OB", 1), ("UN", 1)]
)
def test_inline_binary_is_little_endian(vr: str, size: int) -> None:
    big = element(0x0020000D, "UI", b"1.2\0", order=">") + element(
        0x00409999, vr, bytes(range(16)), order=">"
    )
    document = convert(big, EXPLICIT_VR_BIG_ENDIAN)
    words = [bytes(range(i, i + size))[::-1] for i in range(0, 16, size)]
    assert b64decode(document["00409999"]["InlineBinary"]) == b"".join(words)


def test_groups_that_are_not_of_the_data_set_are_left_out_and_the_rest_is_sorted() -> None:
    document = convert(
        element(0x00080000, "UL", bytes(4))
        + identifiers()
        + element(0x00100020, "LO", b"7 ")
        + element(0x00080005, "CS", b"ISO_IR 192")
        + element(0x00020010, "UI", b"1.2\0")
        + element(0x7FE00010, "OB", bytes(2))
    )
    assert list(document) == ["00080005", "00100020", "7FE00010"]


def test_sequences_and_their_empty_items() -> None:
    name = element(0x00100010, "PN", "Ünal".encode())
    document = convert(
        element(0x00080005, "CS", b"ISO_IR 192")
        + identifiers()
        + sequence(0x00081115, item(name), item(b""), undefined=True)
        + sequence(0x00081140)
    )
    assert document["00081115"] == {
        "vr": "SQ",
        "Value": [{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Ünal"}]}}, {}],
    }
    assert document["00081140"] == {"vr": "SQ"}


def test_implicit_vrs_that_depend_on_other_attributes() -> None:
    inside = implicit(0x00280120, b"\xff\xff") + implicit(0x00283006, b"\1\2")
    data_set = (
        implicit(0x00189810, b"\xfe\xff")
        + implicit(0x00280103, b"\1\0")
        + implicit(0x00280120, b"\xff\xff")
        + implicit(0x00283000, item(inside))
        + implicit(0x60003000, b"\1\2")
    )
    document = convert(implicit(0x0020000E, b"1.2\0") + data_set, IMPLICIT_VR_LITTLE_ENDIAN)
    assert document["00189810"] == {"vr": "SS", "Value": [-2]}
    assert document["00280120"] == {"vr": "SS", "Value": [-1]}
    assert document["00283000"]["Value"][0]["00280120"] == {"vr": "SS", "Value": [-1]}
    assert document["00283000"]["Value"][0]["00283006"] == {"vr": "OW", "InlineBinary": "AQI="}
    assert document["60003000"]["vr"] == "OW"


@pytest.mark.parametrize(
    ("character_set", "name", "expected"),
    [
        (b"", b"Adams^John", "Adams^John"),
        (b"ISO_IR 100", "Buc^Jérôme".encode("latin_1"), "Buc^Jérôme"),
        (b"ISO_IR 192", "王^小东".encode(), "王^小东"),
        (b"ISO-IR 192", "王^小东".encode(), "王^小东"),
        (b"UTF-8 ", "王^小东".encode(), "王^小东"),
        (b"GB18030 ", "王^小东\U00020000".encode("gb18030"), "王^小东\U00020000"),
        (b"GBK ", "王^小东".encode("gbk"), "王^小东"),
        (b"", "孙^悟空".encode(), "孙^悟空"),
        (b"ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ".encode("shift_jis"), "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        (b"\\ISO 2022 IR 87 ", b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "山田^太郎"),
        (b"\\ISO 2022 IR 149", b"\x1b$)C\xb1\xe8^\x1b$)C\xc8\xf1\xc1\xdf", "김^희중"),
        (b"\\ISO 2022 IR 58 ", b"\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "张^小东"),
        (b"ISO_IR 192", b"Caf\xe9^A", "Caf\N{REPLACEMENT CHARACTER}^A"),
        (b"NO SUCH SET", b"Adams^John", "Adams^John"),
        (b"ISO_IR 192", b"A\x00\x08^B\xed\xa0\x80", None),
    ],
)
def test_names_are_utf_8_whatever_they_were(
    character_set: bytes, name: bytes, expected: str | None
) -> None:
    document = document_of(
        part10(
            element(0x00080005, "CS", character_set)
            + identifiers()
            + element(0x00100010, "PN", name)
        )
    )
    text = dumps(document).decode("utf-8")
    assert "\0" not in text
    assert "\\u" not in text
    if expected is not None:
        assert document["00100010"]["Value"] == [{"Alphabetic": expected}]


def test_bulk_data_is_found_again_by_its_path() -> None:
    pdf = b"%PDF-1.4" * 400
    inner = item(element(0x00420011, "OB", pdf)) + item(b"")
    content = part10(
        identifiers() + sequence(0x00089215, inner) + element(0x7FE00010, "OW", b"\1\2" * 4)
    )
    header = read_header(content)
    paths: list[str] = []
    to_dicom_json(header, lambda path: paths.append(path) or path)  # type: ignore[func-returns-value]
    assert paths == ["00089215/0/00420011", "7FE00010"]
    found = find_bulk_data(header, "00089215/0/00420011")
    assert isinstance(found, BulkValue)
    assert found.length == len(pdf)
    file = io.BytesIO(content)
    assert read_bulk_data(file, header, "00089215/0/00420011") == pdf
    assert read_bulk_data(file, header, "7FE00010") == b"\1\2" * 4


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "7FE00010/",
        "00089215",
        "00089215/0",
        "00089215/2/00420011",
        "00089215/-1/00420011",
        "00089215/00/00420011",
        "00089215/0/0042_011",
        "00089215/0/00420012",
        "00089215/99999999999999999999/00420011",
        "00100010/0/00100010",
        "PixelDat",
        "../../x",
        "00089215/0/00420011/0/00420011",
    ],
)
def test_other_paths_lead_nowhere(path: str) -> None:
    header = read_header(
        part10(identifiers() + sequence(0x00089215, item(element(0x00420011, "OB", b"ab"))))
    )
    with pytest.raises(NotFound):
        find_bulk_data(header, path)


def test_bulk_data_of_other_encodings_is_little_endian_too() -> None:
    value = bytes(range(256)) * 8
    inflated = part10(
        deflated(identifiers() + element(0x00282000, "OB", value)),
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    )
    assert read_bulk_data(io.BytesIO(inflated), read_header(inflated), "00282000") == value
    big = part10(
        element(0x0020000D, "UI", b"1.2\0", order=">")
        + element(0x00409999, "OL", value, order=">")
        + element(0x00720064, "IS", b"7 ", order=">")
        + element(0x0072006C, "FL", b"\x7f\xc0\0\0", order=">"),
        EXPLICIT_VR_BIG_ENDIAN,
    )
    header = read_header(big)
    words = [value[i : i + 4][::-1] for i in range(0, len(value), 4)]
    assert read_bulk_data(io.BytesIO(big), header, "00409999") == b"".join(words)
    assert read_bulk_data(io.BytesIO(big), header, "0072006C") == b"\0\0\xc0\x7f"


def test_bulk_data_that_is_not_there_is_not_made_up() -> None:
    content = part10(identifiers() + element(0x7FE00010, "OW", b"12", length=(1 << 32) - 2))
    with pytest.raises(ScanError) as caught:
        read_bulk_data(io.BytesIO(content), read_header(content), "7FE00010")
    assert caught.value.code == "truncated"
    content = part10(identifiers() + fragments(b"ab"), "1.2.840.10008.1.2.5")
    with pytest.raises(Unprocessable) as fragmented:
        read_bulk_data(io.BytesIO(content), read_header(content), "7FE00010")
    assert fragmented.value.code == "fragments"


def test_what_a_caller_assigned_is_emitted() -> None:
    header = read_header(part10(identifiers()))
    header.RetrieveURL = "https://archive/x"
    assert to_dicom_json(header, uri)["00081190"] == {"vr": "UR", "Value": ["https://archive/x"]}


@pytest.mark.skipif(not samples("hostile"), reason="no shared samples")
def test_every_sample_gives_valid_json() -> None:
    for path in samples("hostile", "odd", "charsets", "seg-pm-sr"):
        if path.name == "wide_sequence_50000.dcm":
            continue  # takes a second: test_hostile_files_need_little_memory_and_time
        try:
            document = document_of(path.read_bytes())
        except ScanError:
            continue
        text = dumps(document).decode("utf-8")
        assert json.loads(text) == document
        assert "\\u0000" not in text


def test_values_that_are_remembered_are_nobodys_to_change() -> None:
    content = part10(identifiers() + element(0x00200013, "IS", b"1\\2 "))
    first, again = (document_of(content) for _ in range(2))
    first["00200013"]["Value"][0] = 9
    assert again["00200013"]["Value"] == [1, 2]
    assert document_of(content)["00200013"]["Value"] == [1, 2]

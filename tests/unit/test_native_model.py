"""The Native DICOM Model, read by other parsers and held against the JSON it is made of."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from pydicom.dataset import Dataset

from pacsless.dicom.dicom_json import to_dicom_json
from pacsless.dicom.header import read_header
from pacsless.dicom.native_model import to_native_model
from pacsless.dicom.read_native_model import from_native_model
from pacsless.dicom.scan import ScanError
from pacsless.errors import Unprocessable
from pacsless.representations import native_models
from pacsless.strict_json import dumps
from tests.dicom_files import BUNDLED, bundled, samples
from tests.native_model import NAMESPACE, read

DCM2XML = shutil.which("dcm2xml")


def document_of(path: Path) -> dict[str, Any]:
    return to_dicom_json(read_header(path.read_bytes()), lambda path: f"bulkdata/{path}?a=1&b")


def xml_of(attributes: dict[str, Any]) -> bytes:
    return b"".join(to_native_model(attributes))


def again(attributes: dict[str, Any]) -> dict[str, Any]:
    """Through XML and back: by the reader of STOW-RS, and by another one."""
    xml = xml_of(attributes)
    found = read(xml)
    assert from_native_model(xml) == found
    return found


def one(vr: str, *values: Any, tag: str = "00104000") -> Any:
    return again({tag: {"vr": vr, "Value": list(values)}})[tag].get("Value")


def told(attributes: dict[str, Any]) -> dict[str, Any]:
    """JSON as XML tells it: without trailing carets, and large integers are no text."""
    found = {}
    for tag, attribute in attributes.items():
        values = attribute.get("Value")
        if attribute["vr"] == "SQ" and values:
            values = [told(item) for item in values]
        elif attribute["vr"] == "PN" and values:
            values = [
                name and {group: text.rstrip("^") for group, text in name.items()}
                for name in values
            ]
        elif attribute["vr"] in ("SV", "UV") and values:
            values = [int(number) for number in values]
        found[tag] = attribute | ({"Value": values} if values else {})
    return found


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in (*bundled(), *samples("charsets", "documents", "odd", "seg-pm-sr"))
        if path.name != "no_meta.dcm"  # not DICOM
    ],
    ids=lambda path: path.name,
)
def test_xml_says_what_json_says(path: Path) -> None:
    attributes = document_of(path)
    found = again(attributes)
    assert found == told(attributes)
    assert list(found) == list(attributes)


def seen(element: ElementTree.Element, path: str = "") -> dict[str, Any]:
    """Attributes and values of a document by their paths."""
    found: dict[str, Any] = {}
    for attribute in element:
        tag = attribute.attrib["tag"]
        if tag in ("00080005", "FFFCFFFC"):
            continue  # dcm2xml says what it converted to; we do not read past the pixels
        here = f"{path}/{tag} {attribute.get('privateCreator')}"
        found[here] = attribute.attrib["vr"]
        for child in attribute:
            kind, number = child.tag.removeprefix(NAMESPACE), child.get("number")
            if kind == "Item":
                found |= seen(child, f"{here}/{number}")
            for leaf in child.iter() if kind in ("PersonName", "Value") else ():
                if leaf.text and leaf.text.strip():
                    found[f"{here}/{number}/{leaf.tag}"] = leaf.text.strip()
    return found


@pytest.mark.skipif(DCM2XML is None, reason="no DCMTK")
@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small.dcm", "reportsi.dcm", "rtstruct.dcm", "priv_SQ.dcm", "test-SR.dcm"],
)
def test_dcmtk_writes_the_same(name: str) -> None:
    options = ["--native-format", "--use-xml-namespace", "--convert-to-utf8"]
    written = subprocess.run(
        [str(DCM2XML), *options, str(BUNDLED[name])], capture_output=True, check=True
    ).stdout
    ours = seen(ElementTree.fromstring(xml_of(document_of(BUNDLED[name]))))
    theirs = seen(ElementTree.fromstring(written))
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if value != theirs[key]:  # digits of numbers
            assert float(value) == pytest.approx(float(theirs[key]), rel=1e-5), key


def test_a_standard_attribute_has_its_keyword_and_no_other_has() -> None:
    attributes = {
        "00100010": {"vr": "PN"},
        "00110010": {"vr": "LO", "Value": ["ACME"]},
        "00111001": {"vr": "LO"},
        "00409999": {"vr": "UN"},
        "60023000": {"vr": "OW"},
    }
    root = ElementTree.fromstring(xml_of(attributes))
    assert [(one.get("tag"), one.get("keyword"), one.get("privateCreator")) for one in root] == [
        ("00100010", "PatientName", None),
        ("00110010", None, None),
        ("00110001", None, "ACME"),
        ("00409999", None, None),
        ("60023000", "OverlayData", None),
    ]


def test_private_blocks_are_told_apart() -> None:
    attributes = {
        "00110010": {"vr": "LO", "Value": ['A & B "C" <D>\n']},
        "00110011": {"vr": "LO", "Value": ["ACME"]},
        "00110012": {"vr": "LO", "Value": ["ACME"]},  # forbidden, and written
        "00110013": {"vr": "UN", "InlineBinary": "QUNNRQ=="},
        "00111001": {"vr": "LO", "Value": ["one"]},
        "00111101": {"vr": "LO", "Value": ["two"]},
        "00111201": {"vr": "LO", "Value": ["three"]},
        "00111301": {"vr": "LO", "Value": ["four"]},
        "00112001": {"vr": "LO", "Value": ["nobody's"]},
        "00130010": {"vr": "LO", "Value": ["ACME"]},
        "00131001": {
            "vr": "SQ",
            "Value": [{"00130011": {"vr": "LO", "Value": ["IN"]}, "001311FF": {"vr": "LO"}}],
        },
    }
    assert again(attributes) == attributes
    root = ElementTree.fromstring(xml_of(attributes))
    assert [one.get("tag") for one in root.iter(f"{NAMESPACE}DicomAttribute")] == [
        *("00110010", "00110011", "00110012", "00110013"),
        *("00110001", "00110001", "00111201", "00111301", "00112001"),
        *("00130010", "00130001", "00130011", "001300FF"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a\r\nb\rc\n",
        "  \t leading and trailing ",
        "]]> & <a b='c'>\"",
        "&#0;&amp;",
        "山田\u0085\U0001f9b4",
    ],
)
def test_text_is_kept(text: str) -> None:
    assert one("LT", text) == [text]
    assert one("PN", {"Alphabetic": text}) == [{"Alphabetic": text}]
    assert again({"00110010": {"vr": "LO", "Value": [text]}, "00111001": {"vr": "LO"}})


def test_what_xml_cannot_carry_is_replaced_and_breaks_nothing() -> None:
    unfit = "".join(map(chr, [*range(9), 11, 12, *range(14, 32), 0xD800, 0xDFFF, 0xFFFE, 0xFFFF]))
    assert one("LT", f"a{unfit}b") == ["a" + "\ufffd" * len(unfit) + "b"]
    assert one("PN", {"Phonetic": "a\fb"}) == [{"Phonetic": "a\ufffdb"}]
    found = again(
        {
            "00110010": {"vr": "LO", "Value": ["A\x00"]},
            "00111001": {"vr": "OB", "BulkDataURI": "a\x0cb"},
        }
    )
    assert found["00110010"]["Value"] == ["A\ufffd"]
    assert found["00111001"] == {"vr": "OB", "BulkDataURI": "a\ufffdb"}


def test_empty_values_keep_their_places() -> None:
    assert one("CS", "MPG", None, "XR3", None) == ["MPG", None, "XR3", None]
    assert one("PN", None, {"Alphabetic": "A"}) == [None, {"Alphabetic": "A"}]
    assert one("SQ", {}, {"00100020": {"vr": "LO"}}) == [{}, {"00100020": {"vr": "LO"}}]
    assert one("LO") is None
    # PS3.19 Table A.1.5-2 has this very example.
    assert b'<Value number="2"></Value>' in xml_of({"00080008": {"vr": "CS", "Value": ["A", None]}})


def test_numbers_are_exact() -> None:
    assert one("FD", 0.1, -1e-300, 1.0) == [0.1, -1e-300, 1.0]
    assert one("UV", str(2**64 - 1), 1) == [2**64 - 1, 1]
    assert one("DS", "no number", 1.5, 7) == ["no number", 1.5, 7]


def test_the_components_of_a_name() -> None:
    name = {"Alphabetic": "Yamada^Tarou^^Dr.", "Ideographic": "山田^太郎", "Phonetic": "^たろう"}
    root = ElementTree.fromstring(xml_of({"00100010": {"vr": "PN", "Value": [name]}}))
    assert [(one.tag.removeprefix(NAMESPACE), one.text) for one in root[0][0].iter()] == [
        ("PersonName", None),
        ("Alphabetic", None),
        ("FamilyName", "Yamada"),
        ("GivenName", "Tarou"),
        ("NamePrefix", "Dr."),
        ("Ideographic", None),
        ("FamilyName", "山田"),
        ("GivenName", "太郎"),
        ("Phonetic", None),
        ("GivenName", "たろう"),
    ]
    # One component too many, as some write.
    assert one("PN", {"Alphabetic": "A^B^C^D^E^F"}) == [{"Alphabetic": "A^B^C^D^E^F"}]


def test_as_deep_as_a_header_may_be() -> None:
    attributes: dict[str, Any] = {"00100020": {"vr": "LO", "Value": ["x"]}}
    for _ in range(64):
        attributes = {"00081140": {"vr": "SQ", "Value": [attributes]}}
    assert again(attributes) == attributes


def test_a_large_data_set_comes_in_pieces() -> None:
    items = [{"00081150": {"vr": "UI", "Value": ["1.2.3"]}}] * 20_000
    pieces = list(to_native_model({"00081140": {"vr": "SQ", "Value": items}}))
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 70_000
    assert len(read(b"".join(pieces))["00081140"]["Value"]) == 20_000


def test_an_attribute_pydicom_reads_is_the_same_through_xml() -> None:
    ds = Dataset()
    ds.PatientName = "Müller^Jörg"
    ds.FrameIncrementPointer = [0x00181063, 0x00181065]
    ds.PixelSpacing = [0.5, 0.25]
    ds.RedPaletteColorLookupTableData = b"\x01\x02"
    assert Dataset.from_json(again(ds.to_json_dict())) == ds


@pytest.mark.parametrize(
    "entry",
    [b"torn", b"5", b"[]", b'{"x":1}', b'{"00100010":{}}', b'{"00100010":{"vr":"PN","Value":[5]}}'],
)
def test_what_is_no_dicom_json_ends_the_body_without_saying_what_it_was(entry: bytes) -> None:
    body = native_models([dumps({"00080018": {"vr": "UI", "Value": ["1.2"]}}), entry])
    sent: list[bytes] = []
    with pytest.raises(Unprocessable) as refused:
        sent.extend(body)
    assert b"".join(sent).count(b"<NativeDicomModel") == 1
    assert f"--{body.boundary}--".encode() not in b"".join(sent)
    assert entry.decode() not in refused.value.message


def test_entries_are_read_when_their_parts_are_sent() -> None:
    read_entries = []

    def entries() -> Any:
        for number in range(5_000):
            read_entries.append(number)
            yield b'{"00080018":{"vr":"UI","Value":["1.2"]}}'

    body = native_models(entries())
    assert body.content_length is None
    sending = iter(body)
    assert read_entries == []
    for _ in range(4):
        next(sending)
    assert read_entries == [0, 1]


def test_many_private_creators_are_read_in_no_time() -> None:
    """A look through all that was read, for each of them, would take hours."""
    rows = "".join(
        f'<DicomAttribute tag="{group:04X}0001" vr="LO" privateCreator="C{number}"/>'
        for group in range(0x0009, 0x0809, 2)
        for number in range(200)
    )
    found = from_native_model(f"<NativeDicomModel>{rows}</NativeDicomModel>".encode())
    assert len(found) == 2 * 0x400 * 200


@pytest.mark.parametrize("number", ["0", "40", "1001", "9999999999"])
def test_values_that_are_not_there_are_not_made_up(number: str) -> None:
    value = f'<Value number="{number}">x</Value>'
    document = f'<NativeDicomModel><DicomAttribute tag="00080060" vr="CS">{value}</DicomAttribute>'
    with pytest.raises(ScanError):
        from_native_model(f"{document}</NativeDicomModel>".encode())

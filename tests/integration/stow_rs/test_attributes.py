"""Attributes and bulk data to STOW-RS: what is stored is what they say."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from pacsless.dicom.native_model import to_native_model
from pacsless.storage import Status
from tests.dicom_files import BUNDLED
from tests.instances import make_dataset
from tests.stow import Stow, multipart, related, told

JSON, XML = "application/dicom+json", "application/dicom+xml"
Part = tuple[dict[str, str], bytes]


def attributes(ds: Dataset, kind: str, uri: str = "bulk/1") -> Part:
    """The attributes of an instance, its pixels left to another part."""
    model: dict[str, Any] = ds.to_json_dict()
    if "7FE00010" in model:
        model["7FE00010"] = {"vr": "OW", "BulkDataURI": uri}
    content = json.dumps([model]).encode() if kind == JSON else b"".join(to_native_model(model))
    return {"Content-Type": kind}, content


def bulk(content: bytes, media_type: str, uri: str = "bulk/1") -> Part:
    return {"Content-Type": media_type, "Content-Location": uri}, content


def read(stow: Stow, ds: Dataset) -> Dataset:
    key = f"main/{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}.dcm"
    return dcmread(BytesIO(stow.stored()[key]))


@pytest.mark.parametrize("kind", [JSON, XML])
@pytest.mark.parametrize("name", ["王^小东", "Yamada^Tarou=山田^太郎=やまだ^たろう", "Doe^Jane"])
def test_an_uncompressed_instance(stow: Stow, kind: str, name: str) -> None:
    pixels = np.arange(64, dtype="<u2").tobytes()
    ds = make_dataset(pixels, PatientName=name, Rows=8, Columns=8, SpecificCharacterSet=None)
    ds.PixelSpacing = [0.5, 0.25]
    ds.add_new(0x00091001, "LO", "mine")
    ds.add_new(0x00090010, "LO", "ACME")
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, generate_uid()
    ds.ReferencedImageSequence = [item]
    body = multipart(attributes(ds, kind), bulk(pixels, "application/octet-stream"))
    answer = stow.post(body, related(kind))
    assert answer.status == 200, answer.data
    found = read(stow, ds)
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert found.PixelData == pixels
    assert str(found.PatientName) == name
    assert found.PixelSpacing == [0.5, 0.25]
    assert found[0x00091001].value == "mine"
    assert found.ReferencedImageSequence[0] == item
    left = {element.tag for element in found} ^ {element.tag for element in ds}
    assert left <= {0x00080005}


def test_all_of_pydicoms_files_go_there_as_they_are(stow: Stow) -> None:
    """Each without its pixels: what JSON says is what the file has then."""
    for name, path in BUNDLED.items():
        ds = dcmread(path, force=True)
        if "StudyInstanceUID" not in ds or "SeriesInstanceUID" not in ds:
            continue
        try:
            model = ds.to_json_dict(bulk_data_threshold=1 << 30)
        except Exception:  # noqa: BLE001  # pydicom cannot say what is in it
            continue
        # Group lengths are retired and not written (PS3.5 §7.2).
        pixels = {"7FE00008", "7FE00009", "7FE00010"}
        model = {tag: one for tag, one in model.items() if tag[4:] != "0000" and tag not in pixels}
        ds.SOPInstanceUID = generate_uid()
        model["00080018"]["Value"] = [ds.SOPInstanceUID]
        part = {"Content-Type": JSON}, json.dumps([model]).encode()
        answer = stow.post(multipart(part), related(JSON))
        assert answer.status == 200, (name, answer.data)
        found = read(stow, ds).to_json_dict(bulk_data_threshold=1 << 30)
        charset = found.pop("00080005", None), model.pop("00080005", None)
        assert charset[0] in (charset[1], {"vr": "CS", "Value": ["ISO_IR 192"]}), name
        assert found.keys() == model.keys(), name


def test_frames_in_a_codecs_format_become_fragments(stow: Stow) -> None:
    source = dcmread(BUNDLED["examples_ybr_color.dcm"])
    syntax = source.file_meta.TransferSyntaxUID
    assert syntax == JPEGBaseline8Bit and source.NumberOfFrames > 1
    frames = list(generate_frames(source.PixelData, number_of_frames=int(source.NumberOfFrames)))
    source.SOPInstanceUID = generate_uid()
    parts = [bulk(one, f"image/jpeg; transfer-syntax={syntax}") for one in frames]
    answer = stow.post(multipart(attributes(source, JSON), *parts), related(JSON))
    assert answer.status == 200, answer.data
    found = read(stow, source)
    assert found.file_meta.TransferSyntaxUID == syntax
    kept = list(generate_frames(found.PixelData, number_of_frames=len(frames)))
    assert [one[: len(sent)] for one, sent in zip(kept, frames, strict=True)] == frames


@pytest.mark.parametrize(
    ("media_type", "said", "expected"),
    [
        ("image/jpeg", {}, "1.2.840.10008.1.2.4.70"),
        ("image/jpeg", {"00083002": JPEGBaseline8Bit}, JPEGBaseline8Bit),
        (f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}", {}, JPEGBaseline8Bit),
    ],
)
def test_the_transfer_syntax_is_that_of_the_pixels(
    stow: Stow, media_type: str, said: dict[str, str], expected: str
) -> None:
    ds = make_dataset(b"\0\0")
    for tag, value in said.items():
        ds.add_new(int(tag, 16), "UI", value)
    body = multipart(attributes(ds, JSON), bulk(b"\xff\xd8 a frame", media_type))
    assert stow.post(body, related(JSON)).status == 200
    assert read(stow, ds).file_meta.TransferSyntaxUID == expected


def test_several_instances_and_values_of_other_kinds(stow: Stow) -> None:
    sent = [make_dataset(bytes([number]) * 8) for number in range(3)]
    models, parts = [], []
    for number, ds in enumerate(sent):
        model = ds.to_json_dict()
        model["7FE00010"] = {"vr": "OW", "BulkDataURI": f"p{number}"}
        model["00281201"] = {"vr": "OW", "BulkDataURI": f"odd{number}"}
        model["00720078"] = {"vr": "UL", "BulkDataURI": f"n{number}"}
        model["00082111"] = {"vr": "ST", "BulkDataURI": f"t{number}"}
        models.append(model)
        parts += [
            bulk(bytes([number]) * 8, "application/octet-stream", f"p{number}"),
            bulk(b"odd", "application/octet-stream", f"odd{number}"),
            bulk(b"\x07\0\0\0\x09\0\0\0", "application/octet-stream", f"n{number}"),
            bulk("Größe".encode(), "application/octet-stream", f"t{number}"),
        ]
    body = multipart(({"Content-Type": JSON}, json.dumps(models).encode()), *parts)
    answer = stow.post(body, related(JSON))
    assert answer.status == 200, answer.data
    for number, ds in enumerate(sent):
        found = read(stow, ds)
        assert found.PixelData == bytes([number]) * 8
        assert found[0x00281201].value == b"odd\0"
        assert found[0x00720078].value == [7, 9]
        assert found.DerivationDescription == "Größe"


@pytest.mark.parametrize(
    "change",
    [
        {"7FE00010": {"vr": "OW", "BulkDataURI": "elsewhere"}},
        {"7FE00010": {"vr": "OW", "BulkDataURI": "http://127.0.0.1:1/secret"}},
        {"7FE00010": {"vr": "OW", "BulkDataURI": ["bulk/1"]}},
        {"7FE00010": 17},
        {"00280010": {"vr": "US", "Value": ["many"]}},
        {"00280010": {"vr": "US", "Value": [1 << 40]}},
        {"00280010": {"vr": "ZZ", "Value": [1]}},
        {"00280010": {"Value": [1]}},
        {"Rows": {"vr": "US", "Value": [1]}},
        {"00081140": {"vr": "SQ", "Value": [7]}},
        {"00081140": {"vr": "SQ", "Value": 7}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": 7}]}},
        {"00180050": {"vr": "DS", "Value": ["NaN^Canary"]}},
        {"00089999": {"vr": "OB", "InlineBinary": "not base64!"}},
    ],
)
def test_what_is_no_instance_is_told(stow: Stow, change: dict[str, Any]) -> None:
    good, bad = make_dataset(), make_dataset(PatientName="Canary^Patient")
    models = [good.to_json_dict(), bad.to_json_dict() | change]
    body = multipart(({"Content-Type": JSON}, json.dumps(models).encode()))
    answer = stow.post(body, related(JSON))
    module = told(answer)
    assert module.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == good.SOPInstanceUID
    if answer.status == 202:
        (failed,) = module.FailedSOPSequence
        assert failed.ReferencedSOPInstanceUID == bad.SOPInstanceUID
        assert failed.FailureReason == Status.CANNOT_UNDERSTAND
    else:
        assert answer.status == 200
        assert read(stow, bad).SOPInstanceUID == bad.SOPInstanceUID
    assert b"Canary" not in answer.data
    assert "Canary" not in stow.function.log.read_text()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (JSON, b"[" * 100_000),
        (JSON, b'[{"00080018":'),
        (JSON, b"[null, 7, []]"),
        (JSON, b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
        (XML, b"<NativeDicomModel>"),
        (XML, b"<html/>"),
        (XML, b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><NativeDicomModel>&a;</NativeDicomModel>'),
        (XML, b"<NativeDicomModel>" * 100_000 + b"</NativeDicomModel>" * 100_000),
        (XML, b'<NativeDicomModel><DicomAttribute tag="zz" vr="CS"/></NativeDicomModel>'),
    ],
)  # fmt: skip
def test_what_is_no_model_is_told(stow: Stow, kind: str, content: bytes) -> None:
    answer = stow.post(multipart(({"Content-Type": kind}, content)), related(kind))
    assert answer.status == 409, answer.data
    for one in told(answer).OtherFailuresSequence:
        assert one.FailureReason == Status.CANNOT_UNDERSTAND

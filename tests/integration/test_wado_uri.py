"""The function wado_uri as it is deployed: through functions-framework, on a real archive."""

from __future__ import annotations

import io
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import generate_uid
from werkzeug.test import TestResponse

from functions.wado_uri.pseudonyms import PseudonymKey
from pacsless import resources
from pacsless.errors import PacslessError
from pacsless.identity import InstanceIdentity
from tests.dicom_files import BUNDLED, SAMPLES, bundled, fragments
from tests.instances import encode, make_dataset
from tests.wado import Pacs, deployed

NAVIGATION = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
PICTURE = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
DICOM = "application/dicom"


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Pacs]:
    key = {PseudonymKey: PseudonymKey(b"k" * 32)}
    with deployed("wado_uri", tmp_path) as running, resources.override(key):
        yield running


def url(identity: InstanceIdentity, **query: Any) -> str:
    uids = dict(zip(("studyUID", "seriesUID", "objectUID"), identity.uids, strict=True))
    return f"wado?{urlencode({'requestType': 'WADO', **uids, **query})}"


def picture(response: TestResponse, kind: str = "JPEG") -> Image.Image:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == f"image/{kind.lower()}"
    found = Image.open(io.BytesIO(response.data))
    assert found.format == kind
    found.load()
    return found


def data_set(response: TestResponse) -> pydicom.Dataset:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == DICOM
    assert int(response.headers["Content-Length"]) == len(response.data)
    return pydicom.dcmread(io.BytesIO(response.data))


@pytest.mark.parametrize(
    ("content_type", "accept", "kind"),
    [
        (None, None, "image/jpeg"), (None, "*/*", "image/jpeg"), (None, PICTURE, "image/jpeg"),
        (None, NAVIGATION, "image/jpeg"), (None, "image/png", "image/png"), (None, DICOM, DICOM),
        (None, "application/*", DICOM), ("image/png", None, "image/png"),
        ("image/png", DICOM, "image/png"), (DICOM, "image/jpeg", DICOM),
        ("image/webp,image/gif", None, "image/gif"), ("image/*", None, "image/jpeg"),
        ("image/jpeg;q=0.2,image/png;q=0.8", None, "image/png"),
        (f"image/webp;q=0.9,{DICOM};q=0.1", None, DICOM), ("*/*", None, "image/jpeg"),
    ],
)  # fmt: skip
def test_what_is_sent_of_an_image(
    pacs: Pacs, content_type: str | None, accept: str | None, kind: str
) -> None:
    identity, content = pacs.put("CT_small.dcm")
    query = {} if content_type is None else {"contentType": content_type}
    response = pacs.get(url(identity, **query), accept)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == kind
    assert response.headers["Vary"] == "Accept"
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert (response.data == content) == (kind == DICOM)


@pytest.mark.parametrize(
    ("name", "accept", "kind"),
    [
        ("rtdose.dcm", None, DICOM), ("rtdose.dcm", "*/*", DICOM),
        ("rtdose.dcm", PICTURE, "image/jpeg"), ("rtplan.dcm", None, DICOM),
        ("rtplan.dcm", NAVIGATION, DICOM), ("test-SR.dcm", None, "text/html; charset=utf-8"),
        ("test-SR.dcm", NAVIGATION, "text/html; charset=utf-8"), ("test-SR.dcm", DICOM, DICOM),
        ("test-SR.dcm", "text/plain", "text/plain; charset=utf-8"),
    ],
)  # fmt: skip
def test_what_is_sent_of_others(pacs: Pacs, name: str, accept: str | None, kind: str) -> None:
    identity, content = pacs.put(name)
    response = pacs.get(url(identity), accept)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == kind
    assert (response.data == content) == (kind == DICOM)


@pytest.mark.parametrize(
    ("name", "content_type", "reason"),
    [
        ("CT_small.dcm", "image/webp", "image/png"), ("CT_small.dcm", "text/html", "image/jpeg"),
        ("CT_small.dcm", "video/mp4", DICOM), ("rtplan.dcm", "image/jpeg", DICOM),
        ("test-SR.dcm", "image/jpeg", "text/html"), ("CT_small.dcm", f"{DICOM};q=0", "image/jpeg"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent(pacs: Pacs, name: str, content_type: str, reason: str) -> None:
    identity, _ = pacs.put(name)
    response = pacs.get(url(identity, contentType=content_type))
    assert response.status_code == 406
    assert reason in response.text


def test_charset(pacs: Pacs) -> None:
    identity, _ = pacs.put("test-SR.dcm")
    for accepted in ("utf-8", "UTF-8", "iso-8859-1;q=0.5,utf-8", "*", "ISO_IR 192", ""):
        assert pacs.get(url(identity, charset=accepted)).status_code == 200, accepted
    for accepted in ("iso-8859-1", "utf-8;q=0"):
        assert pacs.get(url(identity, charset=accepted)).status_code == 406, accepted
        assert pacs.get(url(identity), Accept_Charset=accepted).status_code == 406, accepted
    image, _ = pacs.put("CT_small.dcm")
    picture(pacs.get(url(image, charset="iso-8859-1")))


def test_pixels_are_those_of_the_instance(pacs: Pacs) -> None:
    identity, content = pacs.put("CT_small.dcm")
    values = pydicom.dcmread(io.BytesIO(content)).pixel_array.astype(float) - 1024  # its rescale
    found = pacs.get(url(identity, contentType="image/png", windowCenter=40, windowWidth=400))
    wanted = np.clip((values - 39.5) / 399 + 0.5, 0, 1) * 255
    assert np.abs(np.asarray(picture(found, "PNG")) - wanted).max() <= 1


def test_rows_columns_region_and_quality(pacs: Pacs) -> None:
    identity, _ = pacs.put("examples_rgb_color.dcm")  # 320 wide, 240 high

    def shown(**query: Any) -> Any:
        return np.asarray(picture(pacs.get(url(identity, contentType="image/png", **query)), "PNG"))

    whole = shown()
    assert whole.shape == (240, 320, 3)
    assert shown(rows=120, columns=1000).shape == (120, 160, 3)
    assert shown(rows=120).shape == (120, 160, 3)
    assert shown(columns=80).shape == (60, 80, 3)
    assert np.array_equal(shown(region="0.25,0.5,0.75,1"), whole[120:, 80:240])
    assert shown(region="0.5,0,1,1", rows=60).shape == (60, 40, 3)
    small, large = (pacs.get(url(identity, imageQuality=quality)) for quality in (10, 95))
    assert len(small.data) < len(large.data)


def test_frames(pacs: Pacs) -> None:
    identity, content = pacs.put("rtdose.dcm")  # 15 frames
    first, ninth = (pacs.get(url(identity, frameNumber=n, contentType="image/png")) for n in (1, 9))
    assert picture(first, "PNG").size == (10, 10)
    assert first.data != picture(ninth, "PNG") and first.data != ninth.data
    assert picture(pacs.get(url(identity, frameNumber=2)))
    assert pacs.get(url(identity, contentType="image/png")).data == first.data
    for wrong in (16, 0, "x"):
        assert pacs.get(url(identity, frameNumber=wrong)).status_code == 400, wrong
    single, _ = pacs.put("CT_small.dcm")
    picture(pacs.get(url(single, frameNumber=1)))
    assert pacs.get(url(single, frameNumber=2)).status_code == 400
    report, _ = pacs.put("test-SR.dcm")
    assert pacs.get(url(report, frameNumber=1)).status_code == 400
    # Of the whole instance, a frame means nothing.
    assert pacs.get(url(identity, frameNumber=3, contentType=DICOM)).data == content


def test_requests_that_are_none(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    study, series, instance = identity.uids
    for query in ("", "requestType=WADO", f"studyUID={study}&seriesUID={series}"):
        assert pacs.get(f"wado?{query}").status_code == 400
    assert pacs.get(url(identity, windowCenter=1)).status_code == 400
    window = url(identity, contentType=DICOM, windowCenter=1, windowWidth=2)
    assert pacs.get(window).status_code == 400
    assert pacs.get(url(identity, presentationUID="1.2")).status_code == 400
    for uids in (
        (study, series, "1.2.3"), (study, "1.2.3", instance), ("1.2.3", series, instance),
        (series, study, instance),
    ):  # fmt: skip
        other = InstanceIdentity("default", *uids)
        assert pacs.get(url(other)).status_code == 404
        assert pacs.get(url(other, contentType=DICOM)).status_code == 404
    assert pacs.get(url(identity), X_Pacsless_Tenant="north").status_code == 404
    for path in (url(identity).replace("default", "x") + "&vendor=1&frame=9", url(identity)):
        picture(pacs.get(path))
    assert pacs.client.post(f"/{url(identity)}").status_code == 405


def test_transfer_syntax(pacs: Pacs) -> None:
    identity, content = pacs.put("MR_small_implicit.dcm")
    implicit, explicit = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
    stored = pacs.get(url(identity, contentType=DICOM, transferSyntax=implicit))
    assert stored.data == content
    converted = pacs.get(url(identity, contentType=DICOM, transferSyntax=explicit))
    found = data_set(converted)
    assert found.file_meta.TransferSyntaxUID == explicit
    assert found == pydicom.dcmread(io.BytesIO(content))
    part = pacs.get(url(identity, contentType=DICOM, transferSyntax=explicit), Range="bytes=10-19")
    assert (part.status_code, part.data) == (206, converted.data[10:20])
    refused = pacs.get(url(identity, contentType=DICOM, transferSyntax="1.2.840.10008.1.2.4.90"))
    assert refused.status_code == 406
    assert implicit in refused.text and explicit in refused.text
    compressed, content = pacs.put("JPEG2000.dcm")
    assert pacs.get(url(compressed, contentType=DICOM)).data == content
    decoded = data_set(pacs.get(url(compressed, contentType=DICOM, transferSyntax=explicit)))
    assert decoded.file_meta.TransferSyntaxUID == explicit
    original = pydicom.dcmread(io.BytesIO(content))
    assert np.array_equal(decoded.pixel_array, original.pixel_array)
    refused = pacs.get(url(compressed, contentType=DICOM, transferSyntax=implicit))
    assert refused.status_code == 406
    assert "1.2.840.10008.1.2.4.91" in refused.text and explicit in refused.text
    dataset = make_dataset(NumberOfFrames=25)
    video = pacs.store(encode(dataset, "1.2.840.10008.1.2.4.102") + fragments(bytes(100)))
    refused = pacs.get(url(video, contentType=DICOM, transferSyntax=explicit))
    assert refused.status_code == 406
    assert "1.2.840.10008.1.2.4.102" in refused.text and explicit not in refused.text


def test_a_rendition_is_sent(pacs: Pacs) -> None:
    identity, _ = pacs.put("JPEG2000.dcm")
    syntax, file = "1.2.840.10008.1.2.4.80", BUNDLED["JPEG-lossy.dcm"].read_bytes()
    pacs.archive.replace(identity.rendition_key(syntax), file)
    response = pacs.get(url(identity, contentType=DICOM, transferSyntax=syntax))
    assert (response.status_code, response.data) == (200, file)


@pytest.mark.parametrize(
    "query",
    [{}, {"contentType": "image/png", "rows": 9}, {"anonymize": "yes", "contentType": DICOM},
     {"contentType": DICOM, "transferSyntax": "1.2.840.10008.1.2.1"}],
    ids=str,
)  # fmt: skip
def test_etag(pacs: Pacs, query: dict[str, Any]) -> None:
    dataset = pydicom.dcmread(BUNDLED["MR_small_implicit.dcm"])
    dataset.BurnedInAnnotation = "NO"
    identity = pacs.store(encode(dataset, "1.2.840.10008.1.2"))
    first = pacs.get(url(identity, **query))
    assert first.status_code == 200, first.text
    tag = first.headers["ETag"]
    again = pacs.get(url(identity, **query), If_None_Match=tag)
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert pacs.get(url(identity, **query), If_None_Match='"x"').status_code == 200
    assert pacs.get(url(identity, columns=8)).headers["ETag"] != tag
    head = pacs.client.head(f"/{url(identity, **query)}")
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", tag)
    pacs.archive.remove(identity.key)
    dataset.InstanceNumber = 77777
    pacs.store(encode(dataset, "1.2.840.10008.1.2"))
    assert pacs.get(url(identity, **query), If_None_Match=tag).status_code == 200


def test_annotation(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    plain = np.asarray(picture(pacs.get(url(identity, contentType="image/png")), "PNG")).astype(int)
    for annotation, rows in (("patient", slice(0, 64)), ("technique", slice(64, 128))):
        response = pacs.get(url(identity, contentType="image/png", annotation=annotation))
        changed = np.asarray(picture(response, "PNG")).astype(int) != plain
        assert changed[rows].sum() > 50, annotation
        assert changed[rows].sum() == changed.sum()
        assert "Warning" not in response.headers
    told = pacs.get(url(identity, annotation="patient,dose")).headers["Warning"]
    assert "annotation" in told


def test_anonymized(pacs: Pacs) -> None:
    identity, content = pacs.put("CT_small.dcm")
    original = pydicom.dcmread(io.BytesIO(content))
    response = pacs.get(url(identity, contentType=DICOM, anonymize="yes"))
    found = data_set(response)
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID
    assert response.data[:128] == bytes(128)
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"):
        assert found[keyword].value != original[keyword].value
    assert found.PatientName == "" and "PatientBirthDate" in found and not found.PatientBirthDate
    for word in ("CompressedSamples", "1CT1", "2004", "JFK", str(original.StudyInstanceUID)):
        assert word.encode() not in response.data, word
    assert not [element for element in found if element.tag.is_private]
    assert np.array_equal(found.pixel_array, original.pixel_array)
    assert found.PixelData == original.PixelData


@pytest.mark.parametrize(
    ("name", "burned_in"),
    [
        ("CT_small.dcm", None), ("rtdose.dcm", None), ("rtdose_expb.dcm", None),
        ("rtdose_rle.dcm", None), ("liver_1frame.dcm", None), ("693_J2KI.dcm", None),
        ("MR_small_bigendian.dcm", "NO"), ("image_dfl.dcm", "NO"), ("MR_small_implicit.dcm", "NO"),
        ("SC_rgb_rle_2frame.dcm", "NO"), ("examples_ybr_color.dcm", "NO"),
    ],
)  # fmt: skip
def test_anonymized_pixels_are_those_of_the_instance(
    pacs: Pacs, name: str, burned_in: str | None
) -> None:
    original = pydicom.dcmread(BUNDLED[name])
    if burned_in:
        identity, _ = pacs.put(name)
        refused = pacs.get(url(identity, contentType=DICOM, anonymize="yes"))
        assert refused.status_code == 406
        assert pacs.get(url(identity, anonymize="yes", frameNumber=1)).status_code == 406
        original.BurnedInAnnotation = burned_in
        original.SOPInstanceUID = generate_uid()
    syntax = original.file_meta.TransferSyntaxUID
    identity = pacs.store(encode(original, syntax) if burned_in else BUNDLED[name].read_bytes())
    found = data_set(pacs.get(url(identity, contentType=DICOM, anonymize="yes")))
    if syntax.is_encapsulated:
        assert found.file_meta.TransferSyntaxUID == syntax
        assert found.PixelData == original.PixelData
    else:
        assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert np.array_equal(found.pixel_array, original.pixel_array)
    shown = pacs.get(url(identity, anonymize="yes", frameNumber=1, contentType="image/png"))
    picture(shown, "PNG")


def test_what_cannot_be_anonymized_is_refused(pacs: Pacs) -> None:
    burned = pacs.store(encode(make_dataset(bytes(8), BurnedInAnnotation="YES")))
    for name in ("test-SR.dcm", "rtplan.dcm"):
        identity, _ = pacs.put(name)
        assert pacs.get(url(identity, anonymize="yes")).status_code == 406
    for query in ({}, {"contentType": DICOM}, {"contentType": "image/png"}):
        refused = pacs.get(url(burned, anonymize="yes", **query))
        assert refused.status_code == 406
        assert "burned in" in refused.text
    picture(pacs.get(url(burned)))
    both = url(burned, anonymize="yes", contentType=DICOM, transferSyntax="1.2.840.10008.1.2.5")
    assert pacs.get(both).status_code == 406
    with resources.override({PseudonymKey: PseudonymKey()}):
        identity, _ = pacs.put("CT_small.dcm")
        refused = pacs.get(url(identity, anonymize="yes", contentType=DICOM))
        assert refused.status_code == 406 and "key" in refused.text


def document(content: bytes, media_type: str) -> bytes:
    dataset = make_dataset(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1",
        EncapsulatedDocument=content + bytes(len(content) % 2),
        MIMETypeOfEncapsulatedDocument=media_type,
        **dict.fromkeys(("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation")),
    )
    return encode(dataset)


@pytest.mark.parametrize("size", [20, 5000])
def test_documents(pacs: Pacs, size: int) -> None:
    content = b"%PDF-1.4\n" + b"x" * (size - 9)
    identity = pacs.store(document(content, "application/pdf"))
    for accept in (None, NAVIGATION, "application/pdf"):
        response = pacs.get(url(identity), accept)
        assert (response.status_code, response.data) == (200, content)
        assert response.headers["Content-Type"] == "application/pdf"
    part = pacs.get(url(identity), Range="bytes=0-3")
    assert (part.status_code, part.data) == (206, b"%PDF")
    tag = response.headers["ETag"]
    assert pacs.get(url(identity), If_None_Match=tag).status_code == 304
    part = pacs.get(url(identity), Range="bytes=0-3", If_Range=tag)
    assert (part.status_code, part.data) == (206, b"%PDF")
    whole = pacs.get(url(identity), Range="bytes=0-3", If_Range='"another"')
    assert (whole.status_code, whole.data) == (200, content)
    assert pacs.get(url(identity, anonymize="yes")).status_code == 406
    data_set(pacs.get(url(identity, contentType=DICOM)))


@pytest.mark.parametrize(
    "media_type", ["text/html", "image/svg+xml", "text/xml", "", "x/y\r\nZ: 1"]
)
def test_documents_that_would_run_are_dicom(pacs: Pacs, media_type: str) -> None:
    identity = pacs.store(document(b"<script>alert(1)</script>", media_type))
    data_set(pacs.get(url(identity), NAVIGATION))
    for content_type in ("text/html", "image/svg+xml", "text/xml"):
        assert pacs.get(url(identity, contentType=content_type)).status_code == 406


def test_videos(pacs: Pacs) -> None:
    stream = b"\0\0\0\x18ftypmp42" + bytes(1000)
    dataset = make_dataset(SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.4.1", NumberOfFrames=25)
    file = encode(dataset, "1.2.840.10008.1.2.4.102") + fragments(stream)
    identity = pacs.store(file)
    assert data_set(pacs.get(url(identity))).NumberOfFrames == 25
    video = pacs.get(url(identity, contentType="video/*"), Range="bytes=4-7")
    assert (video.status_code, video.data) == (206, b"ftyp")
    assert video.headers["Content-Type"] == "video/mp4"
    assert pacs.get(url(identity, contentType="image/jpeg")).status_code == 406


FILES = sorted({*bundled(), *SAMPLES.rglob("*.dcm")})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_whatever_is_stored_is_sent_or_refused(pacs: Pacs, path: Path) -> None:
    try:
        identity = pacs.store(path.read_bytes())
    except PacslessError:
        pytest.skip("the gateway does not take it")
    for query in (
        {"contentType": DICOM}, {}, {"contentType": "image/jpeg", "annotation": "patient"},
        {"contentType": DICOM, "anonymize": "yes"}, {"contentType": "text/html,application/pdf"},
        {"contentType": DICOM, "transferSyntax": "1.2.840.10008.1.2.1"},
    ):  # fmt: skip
        response = pacs.get(url(identity, **query))
        assert response.status_code in (200, 400, 404, 406), (query, response.text)
        if query == {"contentType": DICOM}:
            assert response.data == path.read_bytes()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1 << 20  # 1 GiB, in KiB

"""The function rendered as it is deployed: through functions-framework, on a real archive."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageCms
from pydicom import Dataset as Item
from pydicom.encaps import encapsulate
from pydicom.uid import generate_uid
from werkzeug.test import TestResponse

from functions.rendered import retrieve
from functions.rendered.retrieve import candidates
from pacsless.access_routes import route_of
from pacsless.identity import InstanceIdentity
from pacsless.instances import Stored
from pacsless.rendering import opened
from tests.dicom_files import BUNDLED, SAMPLES, bundled
from tests.instances import encode, make_dataset, store_bytes
from tests.wado import Pacs, deployed, parts

PARTS = 'multipart/related; type="image/jpeg"'


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Pacs]:
    with deployed("rendered", tmp_path) as running:
        yield running


def picture(response: TestResponse, kind: str = "JPEG") -> Image.Image:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == f"image/{kind.lower()}"
    found = Image.open(io.BytesIO(response.data))
    assert found.format == kind
    found.load()
    return found


def instance(pixels: bytes = bytes(range(8)), **values: Any) -> bytes:
    return encode(make_dataset(pixels, **values))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "JPEG"), ("*/*", "JPEG"), ("image/*", "JPEG"), ("image/jpeg", "JPEG"),
        ("image/png", "PNG"), ("image/gif", "GIF"), ("image/webp, image/png;q=0.5", "PNG"),
        ("image/jpeg;q=0.5, image/gif", "GIF"), ("image/png, */*;q=0.1", "PNG"),
        ("text/html, image/*;q=0.8", "JPEG"), ("multipart/related;q=0.1, image/png", "PNG"),
    ],
)  # fmt: skip
def test_the_media_type_is_negotiated(pacs: Pacs, accept: str | None, kind: str) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    for resource in ("rendered", "frames/1/rendered", "thumbnail", "frames/1/thumbnail"):
        response = pacs.get(f"{identity.subject}/{resource}", accept)
        assert picture(response, kind).size == (128, 128)
        assert response.headers["Vary"] == "Accept"
        assert response.headers["Cache-Control"].startswith("private")
    asked = pacs.get(f"{identity.subject}/rendered?accept=image/png", "image/gif")
    picture(asked, "PNG")


@pytest.mark.parametrize("accept", ["image/webp", "text/html", "application/dicom", "image/*;q=0"])
def test_what_cannot_be_made_is_refused(pacs: Pacs, accept: str) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    for resource in ("rendered", "thumbnail"):
        response = pacs.get(f"{identity.subject}/{resource}", accept)
        assert response.status_code == 406
        assert "image/png" in response.text


def test_pixels_are_those_of_the_instance(pacs: Pacs) -> None:
    identity, content = pacs.put("CT_small.dcm")
    values = pydicom.dcmread(io.BytesIO(content)).pixel_array.astype(float) - 1024  # its rescale
    found = pacs.get(f"{identity.subject}/rendered?window=40,400,linear-exact", "image/png")
    wanted = np.clip((values - 40) / 400 + 0.5, 0, 1) * 255
    assert np.abs(np.asarray(picture(found, "PNG")) - wanted).max() <= 1


def test_viewport_region_and_quality(pacs: Pacs) -> None:
    identity, _ = pacs.put("examples_rgb_color.dcm")  # 320 wide, 240 high
    url = f"{identity.subject}/rendered"
    whole = np.asarray(picture(pacs.get(url, "image/png"), "PNG")).astype(int)
    assert whole.shape == (240, 320, 3)
    assert picture(pacs.get(f"{url}?viewport=100,100")).size == (100, 75)
    cut = np.asarray(picture(pacs.get(f"{url}?viewport=40,30,10,20,-40,30", "image/png"), "PNG"))
    assert np.array_equal(cut, whole[20:50, 10:50][:, ::-1])
    small, large = (pacs.get(f"{url}?quality={quality}") for quality in (10, 95))
    assert len(small.data) < len(large.data)


def test_thumbnails_are_small(pacs: Pacs) -> None:
    identity, _ = pacs.put("examples_rgb_color.dcm")
    url = f"{identity.subject}/thumbnail"
    assert picture(pacs.get(url)).size == (128, 96)
    assert picture(pacs.get(f"{url}?viewport=64,64")).size == (64, 48)
    little, _ = pacs.put("MR_small.dcm")
    assert picture(pacs.get(f"{little.subject}/thumbnail")).size == (64, 64)


def test_frames(pacs: Pacs) -> None:
    identity, _ = pacs.put("rtdose.dcm")  # 15 frames
    url = identity.subject
    first, ninth = (pacs.get(f"{url}/frames/{n}/rendered", "image/png") for n in (1, 9))
    assert pacs.get(f"{url}/rendered", "image/png").data == first.data != ninth.data
    several = parts(pacs.get(f"{url}/frames/9,1/rendered", PARTS.replace("jpeg", "png")))
    assert [body for _, body in several] == [ninth.data, first.data]
    assert several[0][0]["Content-Location"] == f"/dicom-web/{url}/frames/9/rendered"
    assert len(parts(pacs.get(f"{url}/rendered", PARTS))) == 15
    assert pacs.get(f"{url}/frames/9,1/rendered", "image/png").status_code == 406
    picture(pacs.get(f"{url}/frames/9,1/thumbnail"))
    for wrong, status in (("16", 404), ("1,16", 404), ("0", 400), ("x", 400), ("1,", 400)):
        for resource, accept in (("rendered", "*/*"), ("rendered", PARTS)):
            found = pacs.get(f"{url}/frames/{wrong}/{resource}", accept)
            assert found.status_code == status, (wrong, found.text)


def test_the_representative_frame_stands_for_all(pacs: Pacs) -> None:
    content = instance(
        bytes([0, 0, 1, 0, 2, 0, 3, 0, 3, 0, 2, 0, 1, 0, 0, 0]),
        NumberOfFrames=2,
        RepresentativeFrameNumber=2,
    )
    identity = pacs.store(content)
    second = pacs.get(f"{identity.subject}/frames/2/rendered", "image/png")
    assert pacs.get(f"{identity.subject}/rendered", "image/png").data == second.data


@pytest.mark.parametrize(
    "query",
    ["window=1", "window=1,0,linear", "viewport=0,0", "viewport=9,9,200,0,1,1", "quality=0",
     "quality=1&quality=2", "viewport=99999,1"],
)  # fmt: skip
def test_bad_parameters(pacs: Pacs, query: str) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    for path in (
        f"{identity.subject}/rendered",
        f"{identity.subject}/frames/1/rendered",
        f"{identity.subject}/thumbnail",
        f"{identity.series.subject}/rendered",
        f"{identity.series.subject}/thumbnail",
    ):
        response = pacs.get(f"{path}?{query}")
        assert response.status_code == 400
        assert query.partition("=")[0] in response.text.lower()


def test_what_is_not_supported_is_said(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    response = pacs.get(f"{identity.subject}/rendered?annotation=dose&iccprofile=rommrgb&other=1")
    picture(response)
    assert response.headers["Warning"] == (
        "299 http://localhost/dicom-web: these parameters are not supported: annotation, iccprofile"
    )


def scanner() -> bytes:
    """A profile of RGB that is not sRGB: red and green are the other way round."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[12:16] = b"scnr"
    made = made.replace(b"rXYZ", b"tmp_", 1).replace(b"gXYZ", b"rXYZ", 1)
    return bytes(made.replace(b"tmp_", b"gXYZ", 1))


def test_colour_profiles(pacs: Pacs) -> None:
    own = scanner()
    large = (400_000).to_bytes(4, "big") + own[4:] + bytes(400_000 - len(own))
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0,
              "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "Rows": 1,
              "Columns": 2}  # fmt: skip
    pixels = bytes([255, 0, 0, 0, 255, 0])
    path = Item()
    path.ICCProfile = own
    stored = {
        "own": pacs.store(instance(pixels, ICCProfile=own, **colour)),
        "of a path": pacs.store(instance(pixels, OpticalPathSequence=[path], **colour)),
        "none": pacs.store(instance(pixels, **colour)),
        "damaged": pacs.store(instance(pixels, ICCProfile=own[:64] + bytes(200), **colour)),
        "grey": pacs.store(instance(ICCProfile=own)),
        "large": pacs.store(instance(pixels, ICCProfile=large, **colour)),
    }

    def got(which: str, query: str, kind: str = "PNG") -> tuple[bytes | None, Any]:
        url = f"{stored[which].subject}/rendered?{query}"
        made = picture(pacs.get(url, f"image/{kind.lower()}"), kind)
        return made.info.get("icc_profile"), np.asarray(made).tolist()

    plain = [[[255, 0, 0], [0, 255, 0]]]
    for which in ("own", "of a path"):
        assert got(which, "iccprofile=no") == got(which, "") == (None, plain)
        assert got(which, "iccprofile=yes") == (own, plain)
        srgb, converted = got(which, "iccprofile=srgb")
        assert srgb and srgb != own
        assert converted == [[[0, 255, 0], [255, 0, 0]]]
        assert got(which, "iccprofile=yes", "JPEG")[0] == own
        assert got(which, "iccprofile=yes", "GIF")[0] is None
    for which in ("none", "damaged"):
        assert got(which, "iccprofile=yes") == (srgb, plain)
        assert got(which, "iccprofile=srgb") == (srgb, plain)
    assert got("grey", "iccprofile=yes")[0] is None
    assert got("large", "iccprofile=yes") == (large, plain)
    assert pacs.get(f"{stored['own'].subject}/rendered?iccprofile=cmyk").status_code == 400


def test_annotations_are_burned_in_but_for_thumbnails(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    for resource, burned in (("rendered", True), ("frames/1/rendered", True), ("thumbnail", False)):
        url = f"{identity.subject}/{resource}"
        plain, annotated = (
            np.asarray(picture(pacs.get(f"{url}?{query}", "image/png"), "PNG"))
            for query in ("", "annotation=patient,technique")
        )
        assert (plain != annotated).any() == burned, resource


@pytest.mark.parametrize("name", ["waveform_ecg.dcm", "rtplan.dcm"])
def test_what_is_no_image(pacs: Pacs, name: str) -> None:
    identity, _ = pacs.put(name)
    for resource in (identity.subject, identity.series.subject, f"{identity.subject}/frames/1"):
        for suffix in ("rendered", "thumbnail"):
            response = pacs.get(f"{resource}/{suffix}")
            assert response.status_code == 404
            assert "no image" in response.text


def test_a_report_is_text(pacs: Pacs) -> None:
    identity, _ = pacs.put("test-SR.dcm")
    path = f"{identity.subject}/rendered"
    page = pacs.get(path)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.text.lower().startswith("<!doctype html>")
    text = pacs.get(path, "text/plain")
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "<" not in text.text.partition("\n")[0]
    assert pacs.get(path, "image/jpeg").status_code == 406
    assert pacs.get(f"{path}?charset=iso-8859-5").status_code == 406
    assert pacs.get(path, If_None_Match=page.headers["ETag"]).status_code == 304
    assert pacs.get(path, If_None_Match=text.headers["ETag"]).status_code == 200
    for other in ("thumbnail", "frames/1/rendered"):
        assert pacs.get(f"{identity.subject}/{other}").status_code == 404


def test_a_document_is_itself(pacs: Pacs) -> None:
    pdf = b"%PDF-1.7\n" + b"x" * 5001
    stored = {
        media_type: pacs.store(
            instance(b"", MIMETypeOfEncapsulatedDocument=media_type, EncapsulatedDocument=pdf)
        )
        for media_type in ("application/pdf", "text/html")
    }
    path = f"{stored['application/pdf'].subject}/rendered"
    for accept in (None, "application/pdf", "text/html, */*;q=0.5"):
        response = pacs.get(path, accept)
        assert (response.status_code, response.data) == (200, pdf)
        assert response.headers["Content-Type"] == "application/pdf"
    part = pacs.get(path, Range="bytes=0-7", If_Range=response.headers["ETag"])
    assert (part.status_code, part.data) == (206, b"%PDF-1.7")
    refused = pacs.get(path, "image/png")
    assert refused.status_code == 406
    assert "application/pdf" in refused.text
    assert pacs.get(f"{stored['text/html'].subject}/rendered", "text/html").status_code == 406
    assert pacs.get(f"{stored['text/html'].subject}/rendered").status_code == 404


def test_a_video_is_its_stream(pacs: Pacs) -> None:
    stream = b"\0\0\0\x18ftypmp42" + bytes(1000)
    dataset = make_dataset(SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.4.1", NumberOfFrames=25)
    dataset.PixelData = encapsulate([stream], 3)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    identity = pacs.store(encode(dataset, "1.2.840.10008.1.2.4.102"))
    path = f"{identity.subject}/rendered"
    for accept in (None, "video/mp4", "video/*"):
        response = pacs.get(path, accept)
        assert response.headers["Content-Type"] == "video/mp4"
        assert response.data.rstrip(b"\0") == stream.rstrip(b"\0")
    part = pacs.get(path, Range="bytes=4-11")
    assert (part.status_code, part.data) == (206, b"ftypmp42")
    assert "X-Accel-Expires" not in part.headers  # nginx keeps pictures only
    assert pacs.get(path, "image/jpeg").status_code == 406
    assert pacs.get(f"{identity.subject}/frames/2/rendered").status_code == 406


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"Rows": 9000, "Columns": 9000}, 400),
        ({"Rows": 300}, 404),  # not a whole frame is there
        ({"BitsAllocated": 12, "BitsStored": 12}, 406),
    ],
)
def test_images_that_are_not_rendered(pacs: Pacs, values: dict[str, Any], status: int) -> None:
    identity = pacs.store(instance(**values))
    response = pacs.get(f"{identity.subject}/rendered")
    assert response.status_code == status
    assert 10 < len(response.text) < 300


@pytest.mark.parametrize(
    "values",
    [
        {"BurnedInAnnotation": "Yes"},
        {"BurnedInAnnotation": ["NO", "YES"]},
        {"RecognizableVisualFeatures": "YES"},
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_whatever_may_show_the_patient_has_no_thumbnail(pacs: Pacs, values: dict[str, Any]) -> None:
    identity = pacs.store(instance(**values))
    assert pacs.get(f"{identity.subject}/thumbnail").status_code == 404


def test_a_thumbnail_does_not_say_who_the_patient_is(pacs: Pacs) -> None:
    series, study = generate_uid(), generate_uid()
    marked = instance(BurnedInAnnotation="YES", SeriesInstanceUID=series, StudyInstanceUID=study)
    identity = pacs.store(marked)
    assert pacs.get(f"{identity.subject}/thumbnail").status_code == 404
    assert pacs.get(f"{identity.series.subject}/thumbnail").status_code == 404
    picture(pacs.get(f"{identity.subject}/rendered"))
    pacs.store(instance(SeriesInstanceUID=series, StudyInstanceUID=study))
    picture(pacs.get(f"{identity.series.subject}/thumbnail"))


def test_a_series_and_a_study(pacs: Pacs) -> None:
    study, series = generate_uid(), generate_uid()
    images = [
        pacs.store(instance(StudyInstanceUID=study, SeriesInstanceUID=series)) for _ in range(3)
    ]
    report = pacs.store(instance(b"", StudyInstanceUID=study, SeriesInstanceUID=series, Rows=None))
    other = pacs.store(instance(StudyInstanceUID=study))
    found = parts(pacs.get(f"studies/{study}/series/{series}/rendered", "*/*"))
    assert [headers["Content-Location"] for headers, _ in found] == [
        f"/dicom-web/{one.subject}/frames/1/rendered"
        for one in sorted(images, key=lambda one: one.sop_instance_uid)
    ]
    assert all(headers["Content-Type"] == "image/jpeg" for headers, _ in found)
    everything = parts(pacs.get(f"studies/{study}/rendered", 'multipart/related; type="image/gif"'))
    assert len(everything) == 4
    assert pacs.get(f"studies/{study}/rendered", "image/jpeg").status_code == 406
    picture(pacs.get(f"studies/{study}/thumbnail"))
    picture(pacs.get(f"{other.series.subject}/thumbnail", "image/png"), "PNG")
    assert pacs.get(f"{report.subject}/thumbnail").status_code == 404
    for nothing in ("studies/1.2.3", f"studies/{study}/series/1.2.3"):
        for suffix in ("rendered", "thumbnail"):
            assert pacs.get(f"{nothing}/{suffix}").status_code == 404


def test_an_answer_has_a_limit(pacs: Pacs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "MAX_PARTS", 14)
    identity, _ = pacs.put("rtdose.dcm")
    assert pacs.get(f"{identity.subject}/rendered", PARTS).status_code == 400


def test_who_waits_too_long_is_told_so(pacs: Pacs, monkeypatch: pytest.MonkeyPatch) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    monkeypatch.setattr(opened, "_turns", threading.Semaphore(0))
    monkeypatch.setattr(opened, "_PATIENCE", 0.01)
    response = pacs.get(f"{identity.subject}/rendered")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert pacs.get(f"{identity.series.subject}/rendered").status_code == 503
    monkeypatch.undo()
    picture(pacs.get(f"{identity.subject}/rendered"))


def test_the_largest_series_stands_for_a_study() -> None:
    def stored(series: str, number: int) -> Stored:
        return Stored(InstanceIdentity("default", "1.2", series, f"1.2.{number}"), 1, 0.0)

    few = [stored("1.3", number) for number in range(2)]
    many = [stored("1.4", number) for number in range(100, 111)]
    found = candidates(few + many)
    assert found[0] == many[5]
    assert found[1] == few[1]
    assert len(candidates([stored(f"1.{n}", n) for n in range(50)])) == 16


def test_nothing_is_sent_twice(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    for path in (
        f"{identity.subject}/rendered",
        f"{identity.subject}/thumbnail",
        f"{identity.series.subject}/thumbnail",
    ):
        first = pacs.get(path)
        assert first.headers["X-Accel-Expires"] == "@1"  # nginx may keep it, and asks each time
        tag = first.headers["ETag"]
        again = pacs.get(path, If_None_Match=tag)
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
        for other, accept in ((f"{path}?quality=50", None), (path, "image/png")):
            assert pacs.get(other, accept, If_None_Match=tag).status_code == 200
    several = pacs.get(f"{identity.series.subject}/rendered")
    assert several.status_code == 200
    assert not {"ETag", "X-Accel-Expires"} & set(several.headers.keys())  # boundaries are random
    before = pacs.get(f"{identity.series.subject}/thumbnail").headers["ETag"]
    pacs.store(
        instance(
            StudyInstanceUID=identity.study_instance_uid,
            SeriesInstanceUID=identity.series_instance_uid,
        )
    )
    after = pacs.get(f"{identity.series.subject}/thumbnail", If_None_Match=before)
    assert after.status_code == 200


def test_head_says_what_get_would(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    got = pacs.get(f"{identity.subject}/rendered")
    head = pacs.client.head(f"/{identity.subject}/rendered")
    assert head.data == b""
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    head = pacs.client.head(f"/{identity.series.subject}/rendered")
    assert (head.status_code, head.data) == (200, b"")
    assert "Content-Length" not in head.headers


def test_another_tenants_images_do_not_exist(pacs: Pacs) -> None:
    north, _ = pacs.put("CT_small.dcm", "north")
    for resource in (north.subject, north.series.subject, f"studies/{north.study_instance_uid}"):
        for suffix in ("rendered", "thumbnail"):
            path = f"{resource}/{suffix}"
            assert pacs.get(path, X_Pacsless_Tenant="south").status_code == 404
            assert pacs.get(path, X_Pacsless_Tenant="north").status_code == 200


@pytest.mark.parametrize("resource", ["", "/series/{1}", "/series/{1}/instances/{2}"])
@pytest.mark.parametrize("suffix", ["/rendered", "/thumbnail"])
def test_the_access_log_names_routes_as_metrics_do(pacs: Pacs, resource: str, suffix: str) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    uids = identity.study_instance_uid, identity.series_instance_uid, identity.sop_instance_uid
    path = ("/studies/{0}" + resource + suffix).format(*uids)
    route, _ = route_of("GET", f"/dicom-web{path}")
    assert pacs.get(path[1:]).headers["X-Pacsless-Route"] == route
    if "instances" in path:
        frames = path.replace(suffix, f"/frames/1{suffix}")
        route, _ = route_of("GET", f"/dicom-web{frames}")
        assert pacs.get(frames[1:]).headers["X-Pacsless-Route"] == route


HOSTILE = sorted((SAMPLES / "hostile").glob("*.dcm")) if SAMPLES.is_dir() else []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", [*HOSTILE, *bundled()], ids=lambda path: path.name)
def test_every_file_gets_a_picture_or_a_short_answer(pacs: Pacs, path: Path) -> None:
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    store_bytes(pacs.archive, identity, path.read_bytes(), "")
    neighbour = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.5")
    store_bytes(pacs.archive, neighbour, BUNDLED["CT_small.dcm"].read_bytes(), "")
    for suffix in ("rendered", "thumbnail"):
        response = pacs.get(f"{identity.subject}/{suffix}")
        assert response.status_code in (200, 400, 404, 406, 500)
        if response.status_code != 200:
            assert 10 < len(response.text) < 300
            assert "Something went wrong" not in response.text
    # What is damaged does not take its series with it.
    assert 1 <= len(parts(pacs.get("studies/1.2/rendered"))) <= 2
    picture(pacs.get("studies/1.2/series/1.2.3/thumbnail"))

"""The query of WADO-URI (PS3.18 §9.1.2, §9.4.1.2, §9.5.1.2)."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import pytest

from functions.wado_uri.parameters import Asked, parse
from pacsless.errors import PacslessError
from pacsless.rendering.parameters import Viewport, Window

UIDS = "requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4"


def asked(query: str = "") -> Asked:
    return parse(parse_qs(f"{UIDS}&{query}", keep_blank_values=True))


def test_all_of_them() -> None:
    assert asked() == Asked("1.2", "1.3", "1.4")
    assert asked("contentType=image%2Fpng;q=0.5,image/jpeg").content_type == (
        "image/png;q=0.5,image/jpeg"
    )
    assert asked("contentType=image/png&contentType=image/gif").content_type == (
        "image/png,image/gif"
    )
    assert asked("windowCenter=-40.5&windowWidth=400").window == Window(-40.5, 400)
    assert asked("frameNumber=3&imageQuality=70&anonymize=yes") == Asked(
        "1.2", "1.3", "1.4", frame=3, quality=70, anonymize=True
    )
    assert asked("annotation=patient,technique").annotation == ("patient", "technique")
    assert asked("imageAnnotation=technique").annotation == ("technique",)
    assert asked("annotation=technique,dose").unsupported == ("annotation",)
    assert asked("transferSyntax=1.2.840.10008.1.2.1").transfer_syntax == "1.2.840.10008.1.2.1"


@pytest.mark.parametrize("query", ["frame=0", "ROWS=x", "windowcenter=1", "vendor=%00", "=", "&&"])
def test_what_is_not_known_is_passed_over(query: str) -> None:
    assert asked(query) == asked()


@pytest.mark.parametrize(
    "name",
    ["contentType", "charset", "frameNumber", "rows", "region", "windowCenter", "imageQuality",
     "annotation", "transferSyntax", "anonymize", "presentationUID"],
)  # fmt: skip
def test_a_parameter_without_a_value_is_none(name: str) -> None:
    assert asked(f"{name}=") == asked()


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", "requestType"), ("requestType=", "requestType"), ("requestType=wado", "requestType"),
        (UIDS.replace("studyUID", "study"), "studyUID"),
        (UIDS.replace("seriesUID=1.3", "seriesUID="), "seriesUID"),
        (UIDS.replace("&objectUID=1.4", ""), "objectUID"),
        (UIDS.replace("1.4", "../../x"), "objectUID"), (UIDS.replace("1.3", "1..3"), "seriesUID"),
        (UIDS.replace("1.2", "1" * 65), "studyUID"), (UIDS.replace("1.2", "1.2%00"), "studyUID"),
        (f"{UIDS}&studyUID=1.2", "studyUID"), (f"{UIDS}&requestType=WADO", "requestType"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(query: str, named: str) -> None:
    with pytest.raises(PacslessError) as refused:
        parse(parse_qs(query, keep_blank_values=True))
    assert refused.value.status == 400
    assert named in refused.value.message


@pytest.mark.parametrize(
    "query",
    ["frameNumber=0", "frameNumber=-1", "frameNumber=1.5", "frameNumber=1,2", "frameNumber=x",
     "frameNumber=٣", "frameNumber=1&frameNumber=2", "frameNumber=99999999999999999999",
     "rows=0", "rows=4097", "columns=1e3", "region=0,0,1", "region=0,0,1,1,1", "region=0,0,0,1",
     "region=0.5,0,0.5,1", "region=0,0,1.1,1", "region=-0.1,0,1,1", "region=nan,0,1,1",
     "region=0,1,1,0", "windowCenter=1", "windowWidth=1", "windowCenter=a&windowWidth=1",
     "windowCenter=1&windowWidth=0", "windowCenter=1&windowWidth=inf", "imageQuality=0",
     "imageQuality=101", "imageQuality=90%25", "anonymize=no", "anonymize=YES",
     "anonymize=yes&anonymize=yes", "anonymize=yes&annotation=patient",
     "anonymize=yes&annotation=technique", "transferSyntax=x",
     "transferSyntax=1.2&transferSyntax=1.3", "presentationUID=1.2&presentationSeriesUID=1.3",
     "presentationUID=1.2", "contentType=jpeg",
     "contentType=application/dicom;transfer-syntax=1.2.840.10008.1.2.1",
     "contentType=text/html;%20charset=utf-8"],
)  # fmt: skip
def test_what_is_malformed_is_refused(query: str) -> None:
    with pytest.raises(PacslessError) as refused:
        asked(query)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("query", "viewport"),
    [
        ("", None),
        ("rows=50&columns=60", Viewport(60, 50, 0, 0, 200, 100)),
        ("rows=50", Viewport(4096, 50, 0, 0, 200, 100)),
        ("columns=60", Viewport(60, 4096, 0, 0, 200, 100)),
        ("region=0.25,0.5,0.75,1", Viewport(100, 50, 50, 50, 100, 50)),
        ("region=0,0,0.001,0.001", Viewport(1, 1, 0, 0, 0.2, 0.1)),
        ("region=0.5,0,1,1&rows=9&columns=8", Viewport(8, 9, 100, 0, 100, 100)),
    ],
)
def test_the_viewport_is_of_the_image(query: str, viewport: Viewport | None) -> None:
    found = asked(query).rendering(100, 200).viewport
    assert (found is None) == (viewport is None)
    if found and viewport:
        for one in ("width", "height", "x", "y", "region_width", "region_height"):
            assert getattr(found, one) == pytest.approx(getattr(viewport, one)), one


@pytest.mark.parametrize(
    ("given", "is_dicom"),
    [
        ("application/dicom", True), ("application%2Fdicom", True), ("APPLICATION/DICOM", True),
        ("application/dicom;q=0.5", True), ("", False), ("image/jpeg", False), ("*/*", False),
        ("application/dicom,image/jpeg", False), ("application/dicom;q=0", False),
    ],
)  # fmt: skip
def test_only_dicom(given: str, is_dicom: bool) -> None:
    assert asked(f"contentType={given}").is_dicom == is_dicom


def test_a_region_never_leaves_the_image() -> None:
    for share in (1 / 3, 0.1, 0.7, 0.9999999999999999):
        made: Any = asked(f"region={share:.16f},0,1,{share:.16f}").rendering(777, 333).viewport
        assert made.x + made.region_width <= 333
        assert made.y + made.region_height <= 777

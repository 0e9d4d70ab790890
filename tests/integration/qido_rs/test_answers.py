"""What QIDO-RS tells of a match, in JSON and in XML, a page at a time."""

from __future__ import annotations

import json

import pytest

from pacsless import dicomweb
from pacsless.dicom import document
from pacsless.identity import InstanceIdentity
from pacsless.metadata import describe_instance
from tests.instances import make_dataset, new_tenant
from tests.qido import Site, uids, value
from tests.wado import XML, native_models


def test_all_studies_newest_first_with_what_the_standard_requires(site: Site) -> None:
    answers = site.found("/dicom-web/studies")
    assert uids(answers) == ["1.1", "1.2", "1.3"]
    first = answers[0]
    assert list(first) == sorted(first)
    # PS3.18 Table 10.6.3-3
    required = """
        00080020 00080030 00080050 00080056 00080061 00080090 00081190 00100010 00100020
        00100030 00100040 0020000D 00200010 00201206 00201208
    """
    for tag in required.split():
        assert all(tag in one and "vr" in one[tag] for one in answers), tag
    assert first["00080061"] == {"vr": "CS", "Value": ["CT", "PT"]}
    assert first["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
    assert value(first, "00081190") == "http://localhost/dicom-web/studies/1.1"
    assert (value(first, "00201206"), value(first, "00201208")) == (2, 5)
    assert first["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}
    assert "00080060" not in first and "00081040" not in first
    assert answers[1]["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]
    # Absent and empty alike are empty, and a bad date is answered as it was sent.
    assert answers[2]["00080050"] == {"vr": "SH"}
    assert answers[2]["00100020"] == {"vr": "LO"}


def test_series_are_answered_with_their_study_only_above_one(site: Site) -> None:
    (everywhere,) = site.found("/dicom-web/series?SeriesInstanceUID=1.1.2")
    (below,) = site.found("/dicom-web/studies/1.1/series?SeriesInstanceUID=1.1.2")
    assert value(everywhere, "00201209") == value(below, "00201209") == 2
    assert value(below, "00081190") == "http://localhost/dicom-web/studies/1.1/series/1.1.2"
    assert value(below, "0020000D") == "1.1"
    assert value(everywhere, "00100020") == "P-1"
    assert (value(everywhere, "00201208"), value(everywhere, "00080061")) == (5, "CT")
    assert "00100020" not in below and "00201208" not in below
    (asked,) = site.found(
        "/dicom-web/studies/1.1/series?Modality=PT&includefield=PatientID,00201206"
    )
    assert (value(asked, "00100020"), value(asked, "00201206")) == ("P-1", 2)


def test_includefield(site: Site) -> None:
    (plain,) = site.found("/dicom-web/studies?StudyInstanceUID=1.2")
    assert value(plain, "00081030") == "Head MR"
    (series,) = site.found("/dicom-web/studies/1.2/series")
    assert "00081090" not in series
    (repeated,) = site.found(
        "/dicom-web/studies/1.1/series/1.1.1/instances?InstanceNumber=2"
        "&includefield=00280002&includefield=PhotometricInterpretation,BitsStored"
    )
    assert value(repeated, "00280002") == 1
    assert value(repeated, "00280004") == "MONOCHROME2"
    assert value(repeated, "00280101") == 16
    (everything,) = site.found(
        "/dicom-web/studies/1.1/series/1.1.1/instances?InstanceNumber=2&includefield=all"
    )
    assert {"00280103", "00080060", "00100010"} <= set(everything)


def test_instances_have_image_attributes_before_and_after_the_document_is_built(
    site: Site,
) -> None:
    path = "/dicom-web/studies/1.2/instances"
    (before,) = site.found(path)
    assert [value(before, tag) for tag in ("00280008", "00280010", "00280011", "00280100")] == [
        7, 2, 2, 16,
    ]  # fmt: skip
    assert value(before, "00080016") == "1.2.840.10008.5.1.4.1.1.2"
    assert value(before, "00081190").endswith("/studies/1.2/series/1.2.1/instances/1.2.1.1")
    identity = InstanceIdentity(site.tenant, "1.2", "1.2.1", "1.2.1.1")
    entry = describe_instance(site.archive, identity, site.settings)
    site.archive.replace(identity.series.metadata_key, document.compose([entry], 0))
    assert site.found(path) == [before]
    # Neither document nor object: the ledger's own attributes are still answered.
    site.archive.replace(identity.series.metadata_key, b"[{]")
    hidden = site.archive.local_path(identity.key)
    hidden.rename(hidden.with_suffix(".away"))
    try:
        (bare,) = site.found(path)
        assert "00280010" not in bare and value(bare, "00080018") == "1.2.1.1"
    finally:
        hidden.with_suffix(".away").rename(hidden)
        site.archive.remove(identity.series.metadata_key)


def test_pages_neither_overlap_nor_leave_gaps(site: Site) -> None:
    pages = [
        site.get(f"/dicom-web/studies/1.1/instances?limit=2&offset={offset}")
        for offset in (0, 2, 4, 6)
    ]
    found = [one for page in pages for one in uids(json.loads(page.text), "00080018")]
    assert found == ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.2.9", "1.1.2.10"]
    assert [page.headers.get("Warning") is not None for page in pages] == [True, True, False, False]
    assert "additional results" in pages[0].headers["Warning"]
    assert site.found("/dicom-web/studies?limit=0") == []


def test_no_match_is_an_empty_array(site: Site) -> None:
    answer = site.get("/dicom-web/studies?PatientID=nobody")
    assert (answer.status_code, answer.text) == (200, "[]")


@pytest.mark.parametrize(
    "path",
    [
        "studies",
        "studies?limit=1&includefield=all",
        "series?includefield=RequestAttributesSequence",
        "studies/1.1/series",
        "instances?limit=3&offset=1",
        "studies/1.2/instances?includefield=all",
        "studies/1.1/series/1.1.2/instances",
    ],
)
@pytest.mark.parametrize("accept", [XML, f"{XML.replace(chr(34), '')}, */*;q=0.5"])
def test_xml_says_what_json_says(site: Site, path: str, accept: str) -> None:
    said = site.get(f"/dicom-web/{path}")
    told = site.get(f"/dicom-web/{path}", Accept=accept)
    assert native_models(told) == json.loads(said.text) != []
    assert told.headers.getlist("Warning") == said.headers.getlist("Warning")
    assert told.headers["Cache-Control"] == "no-store"


def test_no_match_in_xml_is_no_content(site: Site) -> None:
    answer = site.get("/dicom-web/studies?PatientID=nobody&Rows=512", Accept=XML)
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Matching on Rows" in answer.headers["Warning"]


def test_a_study_without_a_modality_does_not_break_the_study_list_of_ohif(site: Site) -> None:
    """OHIF 3.13 reads ``.Value.length`` of ModalitiesInStudy whenever the element is there."""
    tenant = new_tenant()
    site.add(make_dataset(StudyInstanceUID="1.9", Modality=""), tenant=tenant)
    (study,) = site.found("/dicom-web/studies", tenant=tenant)
    assert "00080061" not in study


def test_retrieve_urls_are_where_wado_rs_answers(site: Site) -> None:
    (instance,) = site.found("/dicom-web/instances?SOPInstanceUID=1.3.1.1")
    identity = InstanceIdentity(site.tenant, "1.3", "1.3.1", "1.3.1.1")
    assert value(instance, "00081190") == dicomweb.instance_url(
        "http://localhost/dicom-web", identity
    )

"""/tools/find, /tools/lookup and /changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.orthanc import find
from pacsless import searches
from pacsless.orthanc_ids import orthanc_id
from tests.instances import make_dataset, new_tenant
from tests.orthanc import CT, CT_PATIENT, CT_SERIES, CT_STUDY, Site, told

MR_STUDY = "7b5f82d7-011e7118-ffac48a8-9204a296-775e6f54"
MR_SERIES = "211fb9b0-46831f91-29422fb0-3d1353fd-1a2228a9"


@pytest.mark.parametrize(
    ("level", "query", "expected"),
    [
        ("Study", {"PatientName": "compressed*"}, [MR_STUDY, CT_STUDY]),
        ("Study", {"PatientName": "*mr1"}, [MR_STUDY]),
        ("Study", {"PatientName": "CompressedSamples^CT?"}, [CT_STUDY]),
        ("Study", {"PatientName": "CompressedSamples"}, []),
        ("Study", {"PatientID": "1ct1"}, [CT_STUDY]),
        ("Study", {"PatientID": "1CT%"}, []),
        ("Study", {"PatientID": "1CT_"}, []),
        ("Study", {"PatientID": "?CT?"}, [CT_STUDY]),
        ("Study", {"0010,0020": "1CT1"}, [CT_STUDY]),
        ("Study", {"00100020": "1CT1", "StudyDate": "20040119"}, [CT_STUDY]),
        ("studies", {"StudyDate": "20040101-20040601"}, [CT_STUDY]),
        ("Study", {"StudyDate": "20040601-", "PatientSex": "F"}, [MR_STUDY]),
        ("Study", {"StudyDate": "-20030101", "PatientSex": "F"}, []),
        ("Study", {"StudyDate": "20040119", "StudyTime": "0727*"}, [CT_STUDY]),
        ("Study", {"ModalitiesInStudy": "CT\\MR"}, [MR_STUDY, CT_STUDY]),
        ("Study", {"ModalitiesInStudy": "ct", "PatientName": ""}, [CT_STUDY]),
        ("Study", {"TimezoneOffsetFromUTC": "-0500"}, [CT_STUDY]),
        ("Series", {"Modality": "CT\\MR"}, [MR_SERIES, CT_SERIES]),
        ("Series", {"Manufacturer": "ge *"}, [CT_SERIES]),
        ("Series", {"SeriesNumber": "1", "PatientID": "4MR1"}, [MR_SERIES]),
        ("Patient", {"PatientID": "1CT1"}, [CT_PATIENT]),
        ("Patient", {"PatientName": "*CT1", "PatientSex": "O"}, [CT_PATIENT]),
        ("Instance", {"PatientID": "1CT1", "InstanceNumber": "1"}, [CT]),
        ("Instance", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, [CT]),
    ],
)
def test_what_is_found(site: Site, level: str, query: dict[str, str], expected: list[str]) -> None:
    assert sorted(site.found(level, Query=query)) == sorted(expected)
    counted = told(site.post("/tools/count-resources", {"Level": level, "Query": query}))
    assert counted == {"Count": len(expected)}


def test_everything_fits_nothing_and_stars(site: Site) -> None:
    whole = site.json("/studies")
    for value in ("", "*", "**", " "):
        for name in ("PatientName", "PatientID", "StudyDate", "ModalitiesInStudy"):
            assert site.found("Study", Query={name: value}) == whole
    assert site.found("Study", Query={"PatientID": "1CT1\\*"}) == whole
    assert site.found("Study", Since=1, Limit=2) == whole[1:3]
    assert site.found("Study", Limit=0) == whole


def test_case(site: Site) -> None:
    def found(value: str, name: str = "PatientName") -> Any:
        return site.found("Study", Query={name: value}, CaseSensitive=True)

    assert found("compressed*") == []
    assert found("Compressed*CT1") == [CT_STUDY]
    assert found("1ct1", "PatientID") == []
    assert found("1CT1", "PatientID") == [CT_STUDY]


def test_what_is_told_of_what_is_found(site: Site) -> None:
    (one,) = site.found("Instance", Query={"PatientID": "1CT1"}, Expand=True)
    assert one == site.json(f"/instances/{CT}")
    (one,) = site.found("Study", Query={"PatientID": "1CT1"}, Expand=True, Short=True)
    assert one == site.json(f"/studies/{CT_STUDY}?short")


def test_within_a_resource_and_by_labels(site: Site) -> None:
    assert site.found("Series", ParentStudy=CT_STUDY) == [CT_SERIES]
    assert site.found("Instance", ParentPatient=CT_PATIENT) == [CT]
    assert site.found("Instance", ParentSeries=MR_SERIES, Query={"PatientID": "1CT1"}) == []
    assert site.found("Study", Labels=["seen"]) == []
    assert site.found("Study", Labels=["seen"], LabelsConstraint="None") == site.json("/studies")


def test_names_in_other_scripts(site: Site) -> None:
    tenant = new_tenant()
    one = make_dataset(PatientName="MÜLLER^Hans", PatientID="M")
    site.add(one, tenant=tenant)
    expected = [orthanc_id("M", str(one.StudyInstanceUID))]
    assert site.found("Study", tenant, Query={"PatientName": "müller*"}) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"Level":"Study"}',
        b'{"Level":"Study","Query":[]}', b'{"Query":{}}', b'{"Level":1,"Query":{}}',
        b'{"Level":"Nope","Query":{}}', b'{"Level":"Study","Query":{"PatientName":3}}',
        b'{"Level":"Study","Query":{"Nonsense":"x"}}', b'{"Level":"Study","Query":{"\'":"x"}}',
        b'{"Level":"Study","Query":{"Modality":"CT"}}', b'{"Level":"Study","Query":{"Rows":"1"}}',
        b'{"Level":"Study","Query":{"StudyDate":"yesterday"}}',
        b'{"Level":"Study","Query":{"PatientID":"\\u0000"}}',
        b'{"Level":"Study","Query":{},"Limit":"a"}', b'{"Level":"Study","Query":{},"Limit":-1}',
        b'{"Level":"Study","Query":{},"Since":1.5}', b'{"Level":"Study","Query":{},"Expand":1}',
        b'{"Level":"Study","Query":{},"Limit":true}',
        b'{"Level":"Study","Query":{},"Since":99999999999999999999}',
        b'{"Level":"Study","Query":{},"OrderBy":[{}]}',
        b'{"Level":"Series","Query":{},"ParentStudy":"x"}',
        b'{"Level":"Study","Query":{"PatientID":"' + b"\\\\" * 600 + b'"}}',
        b"[" * 60_000, b"{" + b" " * 70_000 + b"}",
    ],
)  # fmt: skip
def test_malformed_searches(site: Site, body: bytes) -> None:
    for tool in ("find", "count-resources"):
        answer = site.post(f"/tools/{tool}", body)
        assert answer.status_code == 400, answer.text
        assert answer.text.endswith(".\n")


def test_values_have_bounds(site: Site) -> None:
    for name in ("PatientName", "PatientID", "StudyDescription", "ModalitiesInStudy"):
        for bomb in ("*a" * 20_000, "*a" * 17, "x" * 1_025, "\ud800x", "a\0b"):
            query = {"Level": "Study", "Query": {name: bomb}}
            assert site.post("/tools/find", query).status_code == 400
        assert site.found("Study", Query={name: "*a" * 16}) == []
        assert site.found("Study", Query={name: "\\".join(["x" * 100] * 500)}) == []


def test_a_search_that_takes_too_long_is_too_broad(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse, whole = find.parse, site.found("Instance")

    def slower(body: bytes, tenant: str) -> find.Find:
        asked = parse(body, tenant)
        # Asked first and once, whatever there is in the page.
        asked.conditions.texts.append("CAST((SELECT pg_sleep(0.3)) AS text) = ''")
        return asked

    monkeypatch.setattr(find, "parse", slower)
    monkeypatch.setattr(searches, "BRIEFLY", "50ms")
    assert len(whole) == 4
    assert site.found("Instance") == whole  # it had a second, longer try
    assert site.found("Instance", Since=1, Limit=2) == whole[1:3]
    monkeypatch.setattr(searches, "AT_LENGTH", "50ms")
    for tool in ("find", "count-resources"):
        refused = site.post(f"/tools/{tool}", {"Level": "Instance", "Query": {"PatientID": "1CT1"}})
        assert refused.status_code == 413
        assert "too broad" in refused.text and "1CT1" not in refused.text


def test_names_are_found_in_any_component_group(site: Site) -> None:
    tenant = new_tenant()
    one = make_dataset(PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう", PatientID="Y")
    site.add(one, tenant=tenant)
    for value in ("山田*", "*太*", "ヤマダ*", "yamada^tarou", "=山田^太郎", "*daTarou*\\Yamada*"):
        for level, keys in (("Patient", 1), ("Study", 2)):
            expected = [orthanc_id(*("Y", str(one.StudyInstanceUID))[:keys])]
            assert site.found(level, tenant, Query={"PatientName": value}) == expected, value
    assert site.found("Study", tenant, Query={"PatientName": "田^太*"}) == []


def test_lookup(site: Site) -> None:
    assert told(site.post("/tools/lookup", "1CT1")) == [
        {"ID": CT_PATIENT, "Path": f"/patients/{CT_PATIENT}", "Type": "Patient"}
    ]
    for path, name in ((f"studies/{CT_STUDY}", "Study"), (f"instances/{CT}", "SOP")):
        uid = site.json(f"/{path}")["MainDicomTags"][f"{name}InstanceUID"]
        (found,) = told(site.post("/tools/lookup", uid))
        assert found["Path"] == f"/{path}"
    assert told(site.post("/tools/lookup", "nobody")) == []
    for body in (b"\xff", b"a\0b", b"x" * 70_000):
        assert site.post("/tools/lookup", body).status_code == 400


def test_changes(site: Site) -> None:
    whole = site.json("/changes")
    assert (whole["Done"], whole["First"], whole["Last"]) == (True, 1, 4)
    assert [one["Seq"] for one in whole["Changes"]] == [1, 2, 3, 4]
    assert {one["ID"] for one in whole["Changes"]} == set(site.json("/instances"))
    first = whole["Changes"][0]
    assert first == {
        "ChangeType": "NewInstance", "Date": first["Date"], "ID": first["ID"],
        "Path": f"/instances/{first['ID']}", "ResourceType": "Instance", "Seq": 1,
    }  # fmt: skip
    page = site.json("/changes?since=1&limit=2")
    assert [one["Seq"] for one in page["Changes"]] == [2, 3]
    assert (page["Done"], page["First"], page["Last"]) == (False, 2, 3)
    assert site.json("/changes?since=2&limit=2")["Done"] is True
    assert site.json("/changes?since=100") == {"Changes": [], "Done": True, "Last": 4}
    last = site.json("/changes?last")
    assert [one["Seq"] for one in last["Changes"]] == [4]
    assert site.json("/changes?last", new_tenant()) == {"Changes": [], "Done": True, "Last": 0}


def test_changes_of_a_study_that_is_gone_are_passed_over(site: Site) -> None:
    tenant = new_tenant()
    one = make_dataset(StudyInstanceUID="1.2.3")
    site.add(one, make_dataset(), tenant=tenant)

    def forget(transaction: Any) -> None:
        for table in ("instance", "series", "study"):
            transaction.run(
                f"DELETE FROM {table} WHERE tenant_id = :t AND study_instance_uid = '1.2.3'",
                t=tenant,
            )

    site.database.run(forget)
    found = site.json("/changes", tenant)
    assert len(found["Changes"]) == 1
    assert (found["Done"], found["Last"]) == (True, 2)
    assert json.dumps(found).count("1.2.3") == 0

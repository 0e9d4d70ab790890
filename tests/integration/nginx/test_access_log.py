"""What the access log tells, and what it never does."""

from __future__ import annotations

import re

from tests.nginx import FILE, INSTANCE, Front


def test_access_log(front: Front) -> None:
    front.get("/")
    front.get("/healthz")
    front.get("/tenants/North/dicom-web/studies?PatientName=Doe%5EJane")
    front.get("/tenants/north-1/dicom-web/studies?PatientName=Doe%5EJane")
    front.get("/dicom-web/studies?PatientName=Doe%5EJane" + "*" * 20_000)
    answers = [
        front.get("/dicom-web/studies?PatientName=Doe%5EJane&PatientID=MRN4711", Accept="a/b"),
        front.get("/tenants/north/dicom-web/studies/1.2/series/1.3/metadata?x=Doe", "DELETE"),
        front.get(INSTANCE, User_Agent='Doe "quoted" \x7f' + "x" * 2000),
        front.get("/dicom-web/patients/Doe%5EJane"),
        front.get("/dicom-web/studies/1.2/series/1.3/instances/1.5/frames/1%2C2"),
        front.get("/dicom-web/studies/1.2/series/1.3/instances/1.5/bulkdata/54000100/0/54001010"),
    ]
    lines = front.logged(*answers)
    assert len({line["request_id"] for line in lines}) == len(answers)
    search, refused, instance, strange, frames, bulk = lines

    assert search["path"] == "/dicom-web/studies"
    assert (search["tenant"], search["method"], search["status"]) == ("main", "GET", 200)
    assert search["accept"] == "a/b"
    assert search["remote_addr"] == "127.0.0.1"
    assert search["bytes_sent"] > 0
    assert search["request_time"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)", search["time"])
    assert refused["path"] == "/tenants/north/dicom-web/studies/1.2/series/1.3/metadata"
    assert (refused["tenant"], refused["method"], refused["status"]) == ("north", "DELETE", 405)
    assert (instance["tenant"], instance["status"]) == ("main", 200)
    assert instance["bytes_sent"] > len(FILE)
    assert len(instance["user_agent"]) <= 256
    assert (strange["path"], strange["status"]) == ("", 404)
    assert frames["path"].endswith("/frames/1%2C2")
    assert bulk["path"].endswith("/bulkdata/54000100/0/54001010")

    uids = "studyUID=1.2&seriesUID=1.3&objectUID=1.4"
    wado = front.logged(
        front.get(f"/wado?requestType=WADO&{uids}&x=Jane"),
        front.get(f"/tenants/north/wado?{uids}"),
        front.get("/wado?studyUID=Jane&seriesUID=1.3&objectUID=1.4"),
        front.get(f"/dicom-web/wado?{uids}9%22"),
        front.get(f"{INSTANCE}?{uids}"),
    )
    assert [(line["path"], line["tenant"], line["instance"]) for line in wado] == [
        ("/wado", "main", "1.2/1.3/1.4"), ("/tenants/north/wado", "north", "1.2/1.3/1.4"),
        ("/wado", "main", ""), ("/dicom-web/wado", "main", ""), (INSTANCE, "main", ""),
    ]  # fmt: skip

    text = front.access_log.read_text()
    assert "Jane" not in text
    assert "MRN" not in text  # request ids hold any digits
    assert "?" not in text
    assert {x["tenant"] for x in front.log()} <= {"main", "north", "north-1"}

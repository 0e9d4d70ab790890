"""What nginx tells clients of the service, and that it is so."""

from __future__ import annotations

import json
import re
from urllib.parse import urljoin
from xml.etree import ElementTree

import pytest

from pacsless.stack.configuration import CAPABILITIES
from tests.nginx import ACCEL, FUNCTIONS, Front

ROOTS = [("/dicom-web", "main"), ("/tenants/north-1/dicom-web", "north-1")]
WADL, JSON = "application/vnd.sun.wadl+xml", "application/json"
OPENAPI = "application/vnd.oai.openapi+json"


@pytest.mark.parametrize("slash", ["/", ""])
@pytest.mark.parametrize(("root", "tenant"), ROOTS)
def test_capabilities(front: Front, root: str, tenant: str, slash: str) -> None:
    """PS3.18 §8.9: what is filled in is the base URL, as PS3.18 Annex H wants it."""
    base = front.url + root
    answer = front.get(root + slash, "OPTIONS")
    assert (answer.status, answer.headers["Content-Type"]) == (200, WADL)
    assert answer.headers["Allow"] == "OPTIONS"
    assert "Accept" in answer.headers.getlist("Vary")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    application = ElementTree.fromstring(answer.data)
    (resources,) = application
    assert resources.attrib["base"] == f"{base}/"
    whole = (CAPABILITIES / "capabilities.wadl").read_text()
    assert answer.data.decode() == whole.replace('"/dicom-web/"', f'"{base}/"')

    since = {"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"}  # no matter: RFC 9110 §13.2.1
    answer = front.get(root + slash, "OPTIONS", Accept=JSON, **since)
    assert (answer.status, answer.headers["Content-Type"]) == (200, JSON)
    told = answer.json()
    assert told["servers"][0].pop("url") == base
    stored = json.loads((CAPABILITIES / "openapi.json").read_text())
    stored["servers"][0].pop("url")
    assert told == stored

    (line,) = front.logged(answer)
    assert (line["method"], line["path"], line["tenant"]) == ("OPTIONS", root, tenant)
    assert (line["status"], line["accept"]) == (200, JSON)


@pytest.mark.parametrize(
    ("accept", "sent"),
    [
        ("", WADL),
        ("*/*", WADL),
        ("application/*;q=0.5", WADL),
        (f"{JSON}, {WADL}", WADL),
        (f"{JSON}, text/plain, */*", JSON),
        (f"{WADL};q=0, {JSON}", JSON),
        (f"{WADL}; q=0.000", ""),
        ("APPLICATION/JSON; q=0.5", JSON),
        ("text/html", ""),
        (f"{JSON};q=0, */*", WADL),
        ("application/jsonp", ""),
    ],
)
def test_capabilities_are_negotiated(front: Front, accept: str, sent: str) -> None:
    answer = front.get("/dicom-web/", "OPTIONS", Accept=accept)
    if sent:
        assert (answer.status, answer.headers["Content-Type"]) == (200, sent)
    else:
        assert answer.status == 406
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert WADL.encode() in answer.data


def test_a_strange_host_is_not_repeated(front: Front) -> None:
    for line in ('Host: h"><evil', "X: no host"):
        version = "1.1" if line.startswith("Host") else "1.0"
        answer = front.raw(f"OPTIONS /dicom-web/ HTTP/{version}\r\n{line}\r\n\r\n".encode())
        body = answer.read()
        assert b"evil" not in body
        assert answer.status == 400 or b'base="/dicom-web/"' in body


@pytest.mark.parametrize(("root", "tenant"), ROOTS)
def test_openapi(front: Front, root: str, tenant: str) -> None:
    stored = (CAPABILITIES / "openapi.json").read_bytes()
    answer = front.get(f"{root}/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, JSON)
    assert answer.data == stored
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert "Accept" in answer.headers.getlist("Vary")
    again = front.get(f"{root}/openapi.json", If_None_Match=answer.headers["ETag"])
    assert again.status == 304
    assert urljoin(f"{front.url}{root}/openapi.json", answer.json()["servers"][0]["url"]) == (
        front.url + root
    )

    named = front.get(f"{root}/openapi.json", "HEAD", Accept=OPENAPI)
    assert (named.status, named.headers["Content-Type"]) == (200, OPENAPI)
    assert int(named.headers["Content-Length"]) == len(stored)
    assert (
        front.get(f"{root}/openapi.json", Accept_Encoding="gzip").headers["Content-Encoding"]
        == "gzip"
    )
    refused = front.get(f"{root}/openapi.json", "POST")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")

    (line,) = front.logged(refused)
    assert (line["method"], line["path"]) == ("POST", f"{root}/openapi.json")
    assert line["tenant"] == tenant


def test_everything_described_is_routed(front: Front) -> None:
    told = front.get("/dicom-web/openapi.json").json()
    values = {"study": "1.2", "series": "1.3", "instance": "1.5", "frames": "1,2"}
    values |= {"attribute": "7FE00010", "level": "studies", "resource": "0f-1f", "frame": "0"}
    values |= {"relative": "series", "name": "LastUpdate", "element": "0010-1002/0/0010-0020"}
    reached = set()
    for path, resource in told["paths"].items():
        asked = re.sub(r"\{(\w+)\}", lambda found: values[found[1]], path)
        for method, operation in resource.items():
            # The stand-in answers those of ACCEL with a file.
            if method == "parameters" or operation["tags"] == ["nginx"] or asked in ACCEL:
                continue
            if method == "delete":  # an option, and off here
                assert front.get(f"/dicom-web{asked}", "DELETE").status == 405
                continue
            seen = front.get(f"/dicom-web{asked}", method.upper()).json()
            assert [seen["function"]] == operation["tags"]
            reached.add(seen["function"])
    assert reached == set(FUNCTIONS)

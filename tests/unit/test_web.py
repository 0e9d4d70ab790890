from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import functions_framework
import pytest
from werkzeug.test import Client

from pacsless import resources
from pacsless.archive import Archive
from pacsless.archive.files import FileArchive
from pacsless.settings import Settings

FUNCTION = '''
from pacsless.archive import Archive
from pacsless.errors import NotAcceptable, Unavailable, Unprocessable
from pacsless.extent import accel
from pacsless.web import Request, Response, Route, plain, serves


def retrieve_instance(
    request: Request, study: str, series: str, sop: str, *, archive: Archive
) -> Response:
    """Answer with the original."""
    key = f"{request.tenant}/{study}/{series}/{sop}.dcm"
    return accel(request, archive, key, "application/dicom", {"X-Base": request.base_url})


def search_studies(request: Request) -> Response:
    """Do what the query says."""
    match request.http.args.get("do"):
        case "refuse":
            raise NotAcceptable("accept", "ask for application/dicom+json")
        case "down":
            raise Unavailable("database", "PostgreSQL does not answer")
        case "broken":
            raise Unprocessable("truncated", "the file ends early")
        case "bug":
            raise ValueError("CANARY^NAME")
    return plain(200, request.tenant)


dicomweb = serves("dicomweb", [
    Route("GET", "/studies", search_studies, "PS3.18 §10.6"),
    Route("GET", "/studies/<uid:study>/series/<uid:series>/instances/<uid:sop>",
          retrieve_instance, "PS3.18 §10.4.1.1.3"),
])
'''
INSTANCE = "/studies/1.2/series/1.2.3/instances/1.2.3.4"
CONTENT = bytes(range(256)) * 8


@pytest.fixture
def archive(tmp_path: Path) -> FileArchive:
    archive = FileArchive(tmp_path / "archive")
    archive.replace("default/1.2/1.2.3/1.2.3.4.dcm", CONTENT)
    return archive


@pytest.fixture
def client(tmp_path: Path, archive: FileArchive) -> Iterator[Client]:
    source = tmp_path / "main.py"
    source.write_text(FUNCTION)
    with resources.override({Archive: archive, Settings: Settings()}):
        yield functions_framework.create_app("dicomweb", str(source)).test_client()  # type: ignore[no-untyped-call]


def test_streams_a_file_and_names_its_route(client: Client) -> None:
    answer = client.get(INSTANCE)
    assert (answer.status_code, answer.data) == (200, CONTENT)
    assert answer.headers["Content-Type"] == "application/dicom"
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["X-Pacsless-Route"] == "retrieve_instance"
    assert answer.headers["X-Base"] == "http://localhost/dicom-web"


def test_answers_head_without_a_body(client: Client) -> None:
    answer = client.head(INSTANCE)
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(CONTENT))


@pytest.mark.parametrize(
    ("wanted", "status", "data"),
    [
        ("bytes=2-5", 206, CONTENT[2:6]),
        ("bytes=-3", 206, CONTENT[-3:]),
        ("bytes=0-1,4-5", 200, CONTENT),
        ("pages=1", 200, CONTENT),
        ("bytes=abc", 200, CONTENT),
    ],
)
def test_serves_a_range(client: Client, wanted: str, status: int, data: bytes) -> None:
    answer = client.get(INSTANCE, headers={"Range": wanted})
    assert (answer.status_code, answer.data) == (status, data)


def test_refuses_a_range_beyond_the_end(client: Client) -> None:
    answer = client.get(INSTANCE, headers={"Range": "bytes=9999-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


def test_a_file_that_nginx_does_not_send_has_what_nginx_would_say(client: Client) -> None:
    answer = client.get(INSTANCE)
    assert answer.headers["Accept-Ranges"] == "bytes"
    tag = answer.headers["ETag"]
    assert client.get(INSTANCE, headers={"If-None-Match": tag}).status_code == 304
    for wanted, status in ((tag, 206), ('"another"', 200)):
        headers = {"Range": "bytes=2-5", "If-Range": wanted}
        assert client.get(INSTANCE, headers=headers).status_code == status
    # RFC 9110 §14.2: a range is of GET alone.
    answer = client.head(INSTANCE, headers={"Range": "bytes=2-5"})
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(len(CONTENT)))


def test_redirects_nginx_to_the_file(client: Client) -> None:
    answer = client.get(INSTANCE, headers={"X-Pacsless-Accel": "1"})
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["X-Accel-Redirect"] == "/internal/archive/default/1.2/1.2.3/1.2.3.4.dcm"


def test_a_missing_file_is_404_and_never_a_redirect(client: Client) -> None:
    for headers in ({}, {"X-Pacsless-Accel": "1"}):
        answer = client.get(INSTANCE + "9", headers=headers)
        assert (answer.status_code, answer.text) == (404, "There is no such object.\n")
        assert "X-Accel-Redirect" not in answer.headers


def test_the_tenant_is_the_header_s_and_another_s_object_is_none(client: Client) -> None:
    headers = {"X-Pacsless-Tenant": "clinic", "X-Pacsless-Root": "/tenants/clinic/dicom-web"}
    assert client.get("/studies", headers=headers).text == "clinic\n"
    assert client.get("/studies").text == "default\n"
    assert client.get(INSTANCE, headers=headers).status_code == 404


def test_a_path_may_still_have_its_root(client: Client) -> None:
    assert client.get("/dicom-web" + INSTANCE).data == CONTENT


def test_urls_are_those_the_client_sees(client: Client) -> None:
    headers = {
        "X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example",
        "X-Pacsless-Root": "/dicom-web/",
    }  # fmt: skip
    answer = client.get(INSTANCE, headers=headers)
    assert answer.headers["X-Base"] == "https://pacs.example/dicom-web"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/CANARY/series/1/instances/1", 400),
        (f"/studies/{'1' * 65}/series/1/instances/1", 400),
        ("/studies/1..2/series/1/instances/1", 400),
        ("/studies/%2e%2e/series/1/instances/1", 400),
        ("/studies/..%2f..%2fetc/series/1/instances/1", 404),
        ("/CANARY", 404),
        ("/", 404),
        ("/studies?do=refuse", 406),
        ("/studies?do=broken", 500),
        ("/studies?do=bug", 500),
        ("/studies?do=down", 503),
    ],
)
def test_a_refusal_is_one_plain_sentence_without_an_echo(
    client: Client, path: str, status: int
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.endswith(".\n")
    assert answer.text.count("\n") == 1
    assert "CANARY" not in answer.text + str(answer.headers)


def test_another_method_is_405_with_those_that_go(client: Client) -> None:
    answer = client.delete("/studies")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_a_tenant_that_cannot_be_is_400(client: Client) -> None:
    assert client.get("/studies", headers={"X-Pacsless-Tenant": "../x"}).status_code == 400


def test_health_and_metrics_carry_no_uid(client: Client) -> None:
    client.get(INSTANCE)
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    page = client.get("/metrics").text
    assert (
        'pacsless_requests_total{function="dicomweb",route="retrieve_instance",status="200"' in page
    )
    assert "1.2.3.4" not in page

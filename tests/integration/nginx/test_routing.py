"""Who gets a request, with which headers, and what nginx itself answers."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http.client import HTTPResponse
from http.server import ThreadingHTTPServer

import pytest

from pacsless.stack.configuration import NGINX_TEMPLATE
from tests.nginx import FUNCTIONS, HTTP, INSTANCE, Front, StandIn
from tests.ports import free_ports

PLACEHOLDER = re.compile(r"\$\{([A-Z0-9_]+)\}")


def test_every_variable_is_documented_at_the_top() -> None:
    text = NGINX_TEMPLATE.read_text()
    comment = text.partition("\ndaemon off;")[0]
    documented = re.findall(r"^#   \$\{([A-Z0-9_]+)\}  ", comment, re.MULTILINE)
    used = set(PLACEHOLDER.findall(text.removeprefix(comment)))
    assert set(documented) == used
    assert "${" not in PLACEHOLDER.sub("", text), "nginx's own ${name} would be taken by envsubst"


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/studies", "qido_rs"),
        ("/studies/", "qido_rs"),
        ("/series", "qido_rs"),
        ("/instances", "qido_rs"),
        ("/studies/1.2/series", "qido_rs"),
        ("/studies/1.2/instances", "qido_rs"),
        ("/studies/1.2/series/1.3/instances", "qido_rs"),
        ("/changefeed", "change_feed"),
        ("/changefeed/latest", "change_feed"),
        ("/studies/1.2", "wado_rs"),
        ("/studies/1.2/metadata", "wado_rs"),
        ("/studies/1.2/series/1.3", "wado_rs"),
        ("/studies/1.2/series/1.3/instances/1.5", "wado_rs"),
        ("/studies/1.2/series/1.3/instances/1.5/metadata", "wado_rs"),
        ("/studies/1.2/series/1.3/instances/1.5/frames/1,2", "wado_rs"),
        ("/studies/1.2/series/1.3/instances/1.5/bulkdata/7FE00010", "wado_rs"),
        ("/studies/no%20uid", "wado_rs"),
        ("/studies/1.2/rendered", "rendered"),
        ("/studies/1.2/series/1.3/thumbnail", "rendered"),
        ("/studies/1.2/series/1.3/instances/1.5/rendered", "rendered"),
        ("/studies/1.2/series/1.3/instances/1.5/frames/1,2/rendered", "rendered"),
        ("/studies/rendered", "wado_rs"),
        ("/wado", "wado_uri"),
    ],
)
def test_routes(front: Front, path: str, function: str) -> None:
    for root, tenant in (("/dicom-web", "main"), ("/tenants/north-1/dicom-web", "north-1")):
        seen = front.echo(f"{root}{path}?limit=1")
        assert seen["function"] == function
        assert seen["path"] == f"{path.rstrip('/')}?limit=1"
        assert seen["headers"]["X-Pacsless-Tenant"] == tenant
        assert seen["headers"]["X-Pacsless-Root"] == root


def test_wado_uri_has_an_address_of_its_own(front: Front) -> None:
    for path, tenant, root in (
        ("/wado", "main", "/dicom-web"),
        ("/wado/", "main", "/dicom-web"),
        ("/tenants/north-1/wado", "north-1", "/tenants/north-1/dicom-web"),
    ):
        seen = front.echo(f"{path}?requestType=WADO&contentType=application%2Fdicom")
        assert seen["function"] == "wado_uri"
        assert seen["path"] == "/wado?requestType=WADO&contentType=application%2Fdicom"
        assert seen["headers"]["X-Pacsless-Tenant"] == tenant
        assert seen["headers"]["X-Pacsless-Root"] == root
        assert front.get(path, "POST").status == 405


def test_what_a_client_says_about_itself_is_overwritten(front: Front) -> None:
    headers = {
        "X-Pacsless-Tenant": "victim",
        "X-Pacsless-Root": "/evil",
        "X-Pacsless-Accel": "0",
        "X_Pacsless_Tenant": "victim",
        "X-Forwarded-For": "1.1.1.1",
        "X-Forwarded-Host": "evil.example",
        "X-Request-ID": "mine",
        "X-Accel-Redirect": "/internal/archive/x",
        "X-Accel-Buffering": "no",
    }
    answer = HTTP.request("GET", f"{front.url}/dicom-web/studies/1.2", headers=headers)
    seen = {name.lower(): value for name, value in answer.json()["headers"].items()}
    assert seen["x-pacsless-tenant"] == "main"
    assert seen["x-pacsless-root"] == "/dicom-web"
    assert seen["x-pacsless-accel"] == "1"
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert "x-forwarded-host" not in seen
    assert seen["x-request-id"] == answer.headers["X-Request-ID"] != "mine"
    assert not {name for name in seen if name.startswith("x-accel") or "_" in name}


@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web",
        "/dicom-web/",
        "/dicom-webby/studies",
        "/dicom-web/patients",
        "/dicom-web/studies.json",
        "/dicom-web/openapi.json.bak",
        "/openapi.json",
        "/internal/openapi/json",
        "/internal/capabilities/wadl",
        "/dicom-web/../internal/archive/default/1.2/1.3/1.4.dcm",
        "/tenants/North/dicom-web/studies",
        "/tenants/-x/dicom-web/studies",
        f"/tenants/{'a' * 65}/dicom-web/studies",
        "/tenants//dicom-web/studies",
        "/internal/archive/default/1.2/1.3/1.4.dcm",
        "/internal/dicomweb/studies",
        "/wado/studies",
        "/wadouri?requestType=WADO",
        "/dicom-web/wado/1.2",
        "/tenants/North/wado?requestType=WADO",
        "/missing.js",
        "/.built",
    ],
)
def test_unknown_addresses(front: Front, path: str) -> None:
    # Sent by hand: a client would tidy the dots away.
    answer = front.raw(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    body = answer.read().decode()
    assert (answer.status, answer.headers.get_content_type()) == (404, "text/plain")
    assert body == "There is nothing at this address.\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/studies", "GET, HEAD, POST"),
        ("/studies/1.2", "GET, HEAD, POST"),
        ("/studies/1.2/", "GET, HEAD, POST"),
        ("/studies/1.2/metadata", "GET, HEAD"),
        ("/series", "GET, HEAD"),
    ],
)
def test_other_methods(front: Front, path: str, allowed: str, method: str) -> None:
    answer = front.get(f"/dicom-web{path}", method)
    if method in allowed:
        assert answer.json()["function"] == "stow_rs"
        return
    assert answer.status == 405
    assert answer.headers["Allow"] == allowed
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert b"<" not in answer.data


def test_errors_are_sentences(front: Front) -> None:
    def get(target: str, *lines: str) -> HTTPResponse:
        head = "\r\n".join([f"GET {target} HTTP/1.1", "Host: h", *lines])
        return front.raw(f"{head}\r\nConnection: close\r\n\r\n".encode())

    cases = {
        400: get("/dicom-web/studies", "Content-Length: x"),
        413: get("/dicom-web/studies", "Content-Length: 1000000"),
        414: get("/dicom-web/studies?StudyInstanceUID=" + "1" * 20_000),
    }
    bad_line = front.raw(b"GET /dicom-web/%zz HTTP/1.1\r\nHost: h\r\n\r\n")
    too_large_header = get("/dicom-web/studies", "X-Long: " + "1" * 20_000)
    for status, answer in [*cases.items(), (400, too_large_header), (400, bad_line)]:
        body = answer.read().decode()
        assert answer.status == status
        assert answer.headers.get_content_type() == "text/plain"
        assert body.endswith(".\n") and "<" not in body and "nginx" not in body


def test_a_function_speaks_for_itself(front: Front) -> None:
    answer = front.get("/dicom-web/studies/404")
    assert (answer.status, answer.data) == (404, b"no such study\n")


@pytest.mark.parametrize("path", ["/", "/missing.js", "/dicom-web/studies", INSTANCE])
def test_headers_of_every_answer(front: Front, path: str) -> None:
    headers = front.get(path).headers
    assert headers["Server"] == "nginx"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "'unsafe-eval'" not in policy.replace("'wasm-unsafe-eval'", "")
    assert ("script-src 'none'" in policy) == path.startswith("/dicom-web")


def test_a_function_that_is_down(start: Callable[[dict[str, str]], Front]) -> None:
    port = free_ports(1)[0]
    front = start({name.upper(): f"127.0.0.1:{port}" for name in FUNCTIONS})
    for path in ("/dicom-web/studies?PatientName=Doe", "/dicom-web/studies/1.2"):
        answer = front.get(path)
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert b"not available now" in answer.data
    assert front.get("/").status == 200
    # nginx would quote the request, and with it the patient.
    assert "Doe" not in front.error_log.read_text()

    # The moment it listens it is used: no penalty for having been down.
    handler = type("late", (StandIn,), {"name": "late"})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert front.echo("/dicom-web/studies/1.2")["function"] == "late"
        server.shutdown()

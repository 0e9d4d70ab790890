"""The nginx template, substituted and run by a real nginx before a stand-in function."""

from __future__ import annotations

import gzip
import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urljoin
from xml.etree import ElementTree

import pytest
import urllib3
from urllib3.util import Retry

from tests.eventually import eventually
from tests.ports import free_ports
from tests.services import require

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "schemas/dicomweb"
TEMPLATE = ROOT / "charts/pacsless/files/nginx.conf.template"
PLACEHOLDER = re.compile(r"\$\{([A-Z_]+)\}")
HTTP = urllib3.PoolManager(retries=Retry(0, redirect=0), timeout=20)

FUNCTIONS = ("wado_rs", "rendered", "qido_rs", "change_feed")
FILE = bytes(range(256)) * 20
METADATA = json.dumps([{"00080018": {"vr": "UI", "Value": ["1.2.3"]}}] * 100).encode()
ACCEL = {
    "/studies/1.2/series/1.3/instances/1.4": ("default/1.2/1.3/1.4.dcm", "application/dicom"),
    "/studies/1.2/series/1.3/metadata": (
        "metadata/default/1.2/1.3.json",
        "application/dicom+json",
    ),
    "/studies/1.2/series/1.3/instances/9.9": ("default/1.2/1.3/9.9.dcm", "application/dicom"),
}


class StandIn(BaseHTTPRequestHandler):
    """Tells the caller what arrived, or redirects to a file as wado_rs does."""

    protocol_version = "HTTP/1.1"
    name: ClassVar[str]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in ACCEL:
            key, content_type = ACCEL[path]
            self.answer(200, b"", content_type, {"X-Accel-Redirect": f"/internal/archive/{key}"})
        elif path == "/studies/404":
            self.answer(404, b"no such study\n", "text/plain")
        else:
            seen = {"function": self.name, "path": self.path, "headers": dict(self.headers)}
            extra = {"X-Pacsless-Route": "secret", "X-Accel-Redirect": "/internal/archive/x"}
            self.answer(
                200,
                json.dumps(seen).encode(),
                "application/json",
                extra if self.name in FUNCTIONS[1:] else {},
            )

    do_HEAD = do_GET

    def answer(
        self, status: int, body: bytes, kind: str, extra: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@dataclass(frozen=True)
class Front:
    """A running nginx and the files around it."""

    url: str
    port: int
    access_log: Path
    error_log: Path

    def get(self, path: str, method: str = "GET", **headers: str) -> urllib3.BaseHTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return HTTP.request(method, self.url + path, headers=named, decode_content=False)

    def echo(self, path: str, **headers: str) -> Any:
        answer = self.get(path, **headers)
        assert answer.status == 200, answer.data
        return answer.json()

    def raw(self, request: bytes) -> HTTPResponse:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(request)
        answer = HTTPResponse(connection)
        connection.close()  # the answer holds the socket open until it is read
        answer.begin()
        return answer

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.access_log.read_text().splitlines()]


def substitute(values: dict[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: values[found[1]], TEMPLATE.read_text())


@pytest.fixture(scope="module")
def functions() -> Iterator[dict[str, str]]:
    servers = []
    for name in FUNCTIONS:
        handler = type(name, (StandIn,), {"name": name})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    yield {
        name.upper(): f"127.0.0.1:{server.server_address[1]}"
        for name, server in zip(FUNCTIONS, servers, strict=True)
    }
    for server in servers:
        server.shutdown()
        server.server_close()


def write_files(folder: Path) -> None:
    archive, viewer = folder / "archive", folder / "viewer"
    (archive / "default/1.2/1.3").mkdir(parents=True)
    (archive / "default/1.2/1.3/1.4.dcm").write_bytes(FILE)
    (archive / "metadata/default/1.2").mkdir(parents=True)
    (archive / "metadata/default/1.2/1.3.json").write_bytes(METADATA)
    (archive / "metadata/default/1.2/1.3.json.gz").write_bytes(gzip.compress(METADATA))
    (viewer / "pixels").mkdir(parents=True)
    (viewer / "index.html").write_text("<!doctype html><title>viewer</title>")
    (viewer / "pixels/index.html").write_text("<!doctype html><title>pixels</title>")
    (viewer / "app-config.js").write_text("window.config = {};")
    (viewer / "89.bundle.b327bf3664812958.js").write_text("1;" * 2000)
    (viewer / "89.bundle.b327bf3664812958.js.gz").write_bytes(gzip.compress(b"1;" * 2000))
    (viewer / "5130ccb17e3f3f5b.wasm").write_bytes(b"\0asm")
    (viewer / ".built").write_text("x")


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[dict[str, str]], Front]]:
    require("nginx")
    running: list[subprocess.Popen[bytes]] = []

    def run(functions: dict[str, str]) -> Front:
        # Workers of a root master run as root here, so pytest's private folders are readable.
        folder = tmp_path_factory.mktemp("nginx")
        write_files(folder)
        state, port = folder / "state", free_ports(1)[0]
        state.mkdir()
        configuration = folder / "nginx.conf"
        configuration.write_text(
            substitute(
                {
                    "LISTEN": f"127.0.0.1:{port}",
                    "NGINX_USER": "root",
                    "STATE_DIR": str(state),
                    "ERROR_LOG": str(folder / "error.log"),
                    "ACCESS_LOG": str(folder / "access.log"),
                    "ARCHIVE_ROOT": str(folder / "archive"),
                    "VIEWER_ROOT": str(folder / "viewer"),
                    "CAPABILITIES": str(SCHEMAS),
                    "DEFAULT_TENANT": "main",
                    **functions,
                }
            )
        )
        command = ["nginx", "-e", "stderr", "-p", str(state), "-c", str(configuration)]
        checked = subprocess.run(
            [*command, "-t"], capture_output=True, text=True, timeout=30, check=False
        )
        assert checked.returncode == 0, checked.stderr
        unexpected = [line for line in checked.stderr.splitlines() if "[warn]" in line]
        assert not [line for line in unexpected if "super-user" not in line], checked.stderr
        running.append(subprocess.Popen(command))
        front = Front(f"http://127.0.0.1:{port}", port, folder / "access.log", folder / "error.log")

        def up() -> bool:
            try:
                return front.get("/healthz").data == b"ok\n"
            except urllib3.exceptions.HTTPError:
                return False

        eventually(up)
        return front

    yield run
    for process in running:
        process.terminate()
    for process in running:
        process.wait(20)


@pytest.fixture(scope="module")
def front(functions: dict[str, str], start: Callable[[dict[str, str]], Front]) -> Front:
    return start(functions)


def test_every_variable_is_documented_at_the_top() -> None:
    text = TEMPLATE.read_text()
    comment = text.partition("\ndaemon off;")[0]
    documented = re.findall(r"^#   \$\{([A-Z_]+)\}  ", comment, re.MULTILINE)
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
    ],
)
def test_routes(front: Front, path: str, function: str) -> None:
    for root, tenant in (("/dicom-web", "main"), ("/tenants/north-1/dicom-web", "north-1")):
        seen = front.echo(f"{root}{path}?limit=1")
        assert seen["function"] == function
        assert seen["path"] == f"{path.rstrip('/')}?limit=1"
        assert seen["headers"]["X-Pacsless-Tenant"] == tenant
        assert seen["headers"]["X-Pacsless-Root"] == root


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
        "/wado?requestType=WADO",
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
@pytest.mark.parametrize("path", ["/studies", "/studies/1.2"])
def test_other_methods(front: Front, path: str, method: str) -> None:
    answer = front.get(f"/dicom-web{path}", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert b"<" not in answer.data


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
    whole = (SCHEMAS / "capabilities.wadl").read_text()
    assert answer.data.decode() == whole.replace('"/dicom-web/"', f'"{base}/"')

    since = {"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"}  # no matter: RFC 9110 §13.2.1
    answer = front.get(root + slash, "OPTIONS", Accept=JSON, **since)
    assert (answer.status, answer.headers["Content-Type"]) == (200, JSON)
    told = answer.json()
    assert told["servers"][0].pop("url") == base
    stored = json.loads((SCHEMAS / "openapi.json").read_text())
    stored["servers"][0].pop("url")
    assert told == stored

    def logged() -> dict[str, Any] | None:
        wanted = answer.headers["X-Request-ID"]
        return next((line for line in front.log() if line["request_id"] == wanted), None)

    line = eventually(logged)
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
    stored = (SCHEMAS / "openapi.json").read_bytes()
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

    def logged() -> dict[str, Any] | None:
        wanted = refused.headers["X-Request-ID"]
        return next((line for line in front.log() if line["request_id"] == wanted), None)

    line = eventually(logged)
    assert (line["method"], line["path"]) == ("POST", f"{root}/openapi.json")
    assert line["tenant"] == tenant


def test_everything_described_is_routed(front: Front) -> None:
    told = front.get("/dicom-web/openapi.json").json()
    values = {"study": "1.2", "series": "1.3", "instance": "1.5", "frames": "1,2"}
    values["attribute"] = "7FE00010"
    reached = set()
    for path, resource in told["paths"].items():
        if "get" in resource and resource["get"]["tags"] != ["nginx"]:
            # The stand-in answers this one with a file.
            asked = re.sub(r"\{(\w+)\}", lambda found: values[found[1]], path)
            if asked not in ACCEL:
                seen = front.echo(f"/dicom-web{asked}")
                assert [seen["function"]] == resource["get"]["tags"]
                reached.add(seen["function"])
    assert reached == set(FUNCTIONS)


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


@pytest.mark.parametrize(
    "path", ["/dicom-web/studies", "/dicom-web/changefeed", "/dicom-web/studies/1.2/rendered"]
)
def test_only_wado_rs_may_point_at_files(front: Front, path: str) -> None:
    answer = front.get(path)
    assert answer.status == 200
    assert not {name.lower() for name in answer.headers} & {"x-accel-redirect", "x-pacsless-route"}


INSTANCE = "/dicom-web/studies/1.2/series/1.3/instances/1.4"


def test_files_with_etag_and_ranges(front: Front) -> None:
    whole = front.get(INSTANCE)
    assert (whole.status, whole.data) == (200, FILE)
    assert whole.headers["Content-Type"] == "application/dicom"
    assert whole.headers["Cache-Control"] == "private, no-cache"
    assert "Accept" in whole.headers.getlist("Vary")

    etag = whole.headers["ETag"]
    assert etag.startswith('"')
    again = front.get(INSTANCE, If_None_Match=etag)
    assert (again.status, again.data, again.headers["ETag"]) == (304, b"", etag)
    assert front.get(INSTANCE, If_None_Match='"other"').status == 200

    part = front.get(INSTANCE, Range="bytes=100-355")
    assert (part.status, part.data) == (206, FILE[100:356])
    assert part.headers["Content-Range"] == f"bytes 100-355/{len(FILE)}"
    assert front.get(INSTANCE, Range="bytes=0-9", If_Range='"other"').data == FILE
    beyond = front.get(INSTANCE, Range="bytes=999999-")
    assert beyond.status == 416
    assert b"<" not in beyond.data

    head = front.get(INSTANCE, "HEAD")
    assert (head.status, head.headers["Content-Length"], head.data) == (200, str(len(FILE)), b"")


def test_a_file_that_is_gone(front: Front) -> None:
    answer = front.get("/dicom-web/studies/1.2/series/1.3/instances/9.9")
    assert (answer.status, answer.data) == (404, b"There is nothing at this address.\n")


def test_prebuilt_metadata_goes_out_compressed(front: Front) -> None:
    path = "/dicom-web/studies/1.2/series/1.3/metadata"
    plain = front.get(path)
    assert plain.data == METADATA
    assert plain.headers["Content-Type"] == "application/dicom+json"
    assert "Content-Encoding" not in plain.headers

    packed = front.get(path, Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Type"] == "application/dicom+json"
    assert gzip.decompress(packed.data) == METADATA
    # The file beside it, not compressed per request: its length is known and its ETag strong.
    assert packed.headers["Content-Length"] == str(len(packed.data))
    assert packed.headers["ETag"].startswith('"')
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert {"Accept", "Accept-Encoding"} <= set(packed.headers.getlist("Vary"))
    unchanged = front.get(path, Accept_Encoding="gzip", If_None_Match=packed.headers["ETag"])
    assert unchanged.status == 304


def test_viewer(front: Front) -> None:
    page = front.get("/")
    link = front.get("/viewer?StudyInstanceUIDs=1.2.3")
    assert page.data == link.data
    assert b"<title>viewer" in page.data
    assert b"<title>pixels" in front.get("/pixels/?instance=1").data
    assert page.headers["Cache-Control"] == link.headers["Cache-Control"] == "no-cache"
    assert front.get("/app-config.js").headers["Cache-Control"] == "no-cache"
    assert front.get("/0123456789abcdef.js").headers["Cache-Control"] == "no-cache"
    assert front.get("/", "POST").status == 405

    script = front.get("/89.bundle.b327bf3664812958.js", Accept_Encoding="gzip")
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert script.headers["Content-Encoding"] == "gzip"
    assert "immutable" in script.headers["Cache-Control"]
    wasm = front.get("/5130ccb17e3f3f5b.wasm")
    assert wasm.headers["Content-Type"] == "application/wasm"
    assert "immutable" in wasm.headers["Cache-Control"]


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


def test_access_log(front: Front) -> None:
    front.get("/")
    front.get("/healthz")
    answers = [
        front.get("/dicom-web/studies?PatientName=Doe%5EJane&PatientID=MRN4711", Accept="a/b"),
        front.get("/tenants/north/dicom-web/studies/1.2/series/1.3/metadata?x=Doe", "DELETE"),
        front.get(INSTANCE, User_Agent='Doe "quoted" \x7f' + "x" * 2000),
        front.get("/dicom-web/patients/Doe%5EJane"),
        front.get("/dicom-web/studies/1.2/series/1.3/instances/1.5/frames/1%2C2"),
        front.get("/dicom-web/studies/1.2/series/1.3/instances/1.5/bulkdata/54000100/0/54001010"),
    ]
    wanted = [answer.headers["X-Request-ID"] for answer in answers]
    assert len(set(wanted)) == len(wanted)

    def written() -> dict[str, dict[str, Any]]:
        lines = {line["request_id"]: line for line in front.log()}
        return lines if lines.keys() >= set(wanted) else {}

    lines = eventually(written)
    search, refused, instance, strange, frames, bulk = (lines[one] for one in wanted)

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

    text = front.access_log.read_text()
    assert "Jane" not in text
    assert "MRN" not in text  # request ids hold any digits
    assert "?" not in text
    assert {x["tenant"] for x in front.log()} <= {"main", "north", "north-1"}


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

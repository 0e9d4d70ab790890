"""nginx for tests: a client, stand-in functions behind it and the files it sends."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
from dataclasses import dataclass
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import urllib3
from urllib3.util import Retry

from pacsless.stack.configuration import CAPABILITIES, NGINX_TEMPLATE, substitute
from tests.eventually import eventually
from tests.ports import free_ports

HTTP = urllib3.PoolManager(retries=Retry(0, redirect=0), timeout=20)
FUNCTIONS = ("wado_rs", "wado_uri", "rendered", "qido_rs", "stow_rs", "change_feed", "orthanc")
SENDERS = {"wado_rs", "wado_uri", "orthanc"}
"""Who may name files for nginx to send."""
UNCHECKED = {
    "AUTHORIZE": "127.0.0.1:1", "AUTH_REQUEST": "off", "OAUTH2_ISSUER": "",
    "OAUTH2_CLIENT": "", "OAUTH2_SCOPES": "",
}  # fmt: skip
"""What the template has where no access tokens are asked for."""
FILE = bytes(range(256)) * 20
METADATA = json.dumps([{"00080018": {"vr": "UI", "Value": ["1.2.3"]}}] * 100).encode()
INSTANCE = "/dicom-web/studies/1.2/series/1.3/instances/1.4"
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
                extra if self.name in set(FUNCTIONS) - SENDERS else {},
            )

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

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

    def logged(self, *answers: urllib3.BaseHTTPResponse) -> list[dict[str, Any]]:
        """Wait for the lines about these answers, which nginx writes when it has sent them."""
        wanted = [answer.headers["X-Request-ID"] for answer in answers]

        def lines() -> list[dict[str, Any]]:
            found = {line["request_id"]: line for line in self.log()}
            return [found[one] for one in wanted] if found.keys() >= set(wanted) else []

        return eventually(lines)


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


def run(folder: Path, functions: dict[str, str]) -> tuple[subprocess.Popen[bytes], Front]:
    """Start nginx with the template, substituted; return when it answers.

    Parameters
    ----------
    folder
        With ``archive`` and ``viewer`` in it.
    functions
        Their addresses, by the names of the template; the others are nowhere. And what else
        differs from a server that asks for no access tokens.
    """
    state, port = folder / "state", free_ports(1)[0]
    state.mkdir()
    configuration = folder / "nginx.conf"
    values = {
        "LISTEN": f"127.0.0.1:{port}",
        # Workers of a root master run as root here, so pytest's private folders are readable.
        "NGINX_USER": "root",
        "STATE_DIR": str(state),
        "ERROR_LOG": str(folder / "error.log"),
        "ACCESS_LOG": str(folder / "access.log"),
        "ARCHIVE_ROOT": str(folder / "archive"),
        "VIEWER_ROOT": str(folder / "viewer"),
        "CAPABILITIES": str(CAPABILITIES),
        "DELETE": "off",
        "DEFAULT_TENANT": "main",
        **{name.upper(): "127.0.0.1:1" for name in FUNCTIONS},
        **UNCHECKED,
        **functions,
    }
    configuration.write_text(substitute(NGINX_TEMPLATE.read_text(), values))
    command = ["nginx", "-e", "stderr", "-p", str(state), "-c", str(configuration)]
    checked = subprocess.run(
        [*command, "-t"], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stderr
    unexpected = [line for line in checked.stderr.splitlines() if "[warn]" in line]
    assert not [line for line in unexpected if "super-user" not in line], checked.stderr
    process = subprocess.Popen(command)
    front = Front(f"http://127.0.0.1:{port}", port, folder / "access.log", folder / "error.log")

    def up() -> bool:
        try:
            return front.get("/healthz").data == b"ok\n"
        except urllib3.exceptions.HTTPError:
            return False

    eventually(up)
    return process, front

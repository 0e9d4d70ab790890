"""nginx for tests: a client, stand-in functions behind it and the files it sends."""

from __future__ import annotations

import gzip
import json
import socket
from dataclasses import dataclass
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import urllib3
from urllib3.util import Retry

from tests.eventually import eventually

HTTP = urllib3.PoolManager(retries=Retry(0, redirect=0), timeout=20)
FUNCTIONS = ("wado_rs", "rendered", "qido_rs", "change_feed")
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

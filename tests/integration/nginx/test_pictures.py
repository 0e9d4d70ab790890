"""Pictures nginx keeps: asked about before each use, and nobody else's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.nginx import INSTANCE, Front

PICTURE = f"{INSTANCE}/rendered"


class Renderer(ThreadingHTTPServer):
    """Stands for the function rendered; tells a picture's tenant, kind and version."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.version: str | None = "1"
        self.headers = {"X-Accel-Expires": "@1"}
        self.made = self.revalidated = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Renderer

    def do_GET(self) -> None:
        version, headers = self.server.version, self.headers
        if version == "":  # it hangs up, as a function does that ends
            self.close_connection = True
            return
        if version is None:
            self.answer(404, b"gone\n", "text/plain", {})
            return
        tenant, kind = headers["X-Pacsless-Tenant"], headers["Accept"]
        tag = f'"{tenant}-{kind[-3:]}-{version}"'
        extra = {"ETag": tag, "Vary": "Accept", "Cache-Control": "private, no-cache"}
        extra |= self.server.headers
        if kind == "video/mp4":
            del extra["X-Accel-Expires"]
            extra["Content-Range"] = "bytes 4-11/1000"
            self.answer(206, f"{headers['Range']}".encode(), kind, extra)
        elif headers["If-None-Match"] == tag:
            self.server.revalidated += 1
            self.answer(304, b"", kind, extra)
        else:
            self.server.made += 1
            self.answer(200, f"{tenant} {kind} {version}".encode(), kind, extra)

    def answer(self, status: int, body: bytes, kind: str, extra: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        for name, value in extra.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def renderer() -> Iterator[Renderer]:
    server = Renderer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def pictures(
    renderer: Renderer, functions: dict[str, str], start: Callable[[dict[str, str]], Front]
) -> Front:
    return start(functions | {"RENDERED": f"127.0.0.1:{renderer.server_address[1]}"})


def test_a_picture_is_made_once_and_asked_about_each_time(
    pictures: Front, renderer: Renderer
) -> None:
    answers = [pictures.get(PICTURE, Accept="image/jpeg") for _ in range(3)]
    assert {one.data for one in answers} == {b"main image/jpeg 1"}
    assert (renderer.made, renderer.revalidated) == (1, 2)
    for one in answers:
        assert one.headers["ETag"] == '"main-peg-1"'
        assert one.headers["Content-Length"] == str(len(one.data))
        assert one.headers["Cache-Control"] == "private, no-cache"
        assert "X-Accel-Expires" not in one.headers
    head = pictures.get(PICTURE, "HEAD", Accept="image/jpeg")
    assert (head.status, head.headers["ETag"]) == (200, '"main-peg-1"')
    unchanged = pictures.get(PICTURE, Accept="image/jpeg", If_None_Match='"main-peg-1"')
    assert (unchanged.status, unchanged.data) == (304, b"")
    assert renderer.made == 1
    lines = pictures.logged(*answers, unchanged)
    assert [line["status"] for line in lines] == [200, 200, 200, 304]
    assert all(line["bytes_sent"] > len(answers[0].data) for line in lines)


def test_what_has_changed_or_is_gone_is_not_sent(pictures: Front, renderer: Renderer) -> None:
    assert pictures.get(PICTURE, Accept="image/jpeg").data == b"main image/jpeg 1"
    renderer.version = "2"
    assert pictures.get(PICTURE, Accept="image/jpeg").data == b"main image/jpeg 2"
    changed = pictures.get(PICTURE, Accept="image/jpeg", If_None_Match='"main-peg-1"')
    assert (changed.status, changed.data) == (200, b"main image/jpeg 2")
    renderer.version = None
    assert pictures.get(PICTURE, Accept="image/jpeg").status == 404
    renderer.version = "3"
    assert pictures.get(PICTURE, Accept="image/jpeg").data == b"main image/jpeg 3"
    renderer.version = ""
    assert pictures.get(PICTURE, Accept="image/jpeg").status == 503


def test_tenants_media_types_and_parameters_are_apart(pictures: Front, renderer: Renderer) -> None:
    north = PICTURE.replace("/dicom-web", "/tenants/north/dicom-web")
    for _ in range(2):
        assert pictures.get(PICTURE, Accept="image/jpeg").data == b"main image/jpeg 1"
        assert pictures.get(north, Accept="image/jpeg").data == b"north image/jpeg 1"
        assert pictures.get(PICTURE, Accept="image/png").data == b"main image/png 1"
        assert pictures.get(f"{PICTURE}?quality=5", Accept="image/png").status == 200
    assert renderer.made == 4


def test_ranges_are_those_of_what_is_kept_or_of_the_function(
    pictures: Front, renderer: Renderer
) -> None:
    for _ in range(3):
        got = pictures.get(PICTURE, Accept="image/jpeg", Range="bytes=5-14")
        assert (got.status, got.data) in ((200, b"main image/jpeg 1"), (206, b"image/jpeg"))
    assert (renderer.made, renderer.revalidated) == (1, 2)
    assert pictures.get(PICTURE, Accept="image/jpeg").data == b"main image/jpeg 1"
    video = pictures.get(PICTURE, Accept="video/mp4", Range="bytes=4-11")
    assert (video.status, video.data) == (206, b"bytes=4-11")
    assert video.headers["Content-Range"] == "bytes 4-11/1000"


def test_what_the_function_does_not_offer_is_not_kept(pictures: Front, renderer: Renderer) -> None:
    renderer.headers = {}
    for _ in range(2):
        assert pictures.get(PICTURE, Accept="image/jpeg").status == 200
    assert renderer.made == 2


def test_who_says_so_gets_a_picture_made_anew(pictures: Front, renderer: Renderer) -> None:
    for _ in range(2):
        assert pictures.get(PICTURE, Accept="image/jpeg", Cache_Control="no-cache").status == 200
    assert renderer.made == 2

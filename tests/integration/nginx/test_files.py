"""Files that nginx sends: those a function points at, and the viewer's."""

from __future__ import annotations

import gzip

import pytest

from tests.nginx import FILE, INSTANCE, METADATA, Front


@pytest.mark.parametrize(
    "path", ["/dicom-web/studies", "/dicom-web/changefeed", "/dicom-web/studies/1.2/rendered"]
)
def test_only_who_sends_files_may_point_at_them(front: Front, path: str) -> None:
    answer = front.get(path)
    assert answer.status == 200
    assert not {name.lower() for name in answer.headers} & {"x-accel-redirect", "x-pacsless-route"}


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

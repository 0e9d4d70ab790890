"""Retrieving functions for tests: an archive, a client, and what is in answers, searches too."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from werkzeug.test import Client, TestResponse

from pacsless import resources
from pacsless.archive import Archive
from pacsless.archive.files import FileArchive
from pacsless.cache import Cache
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.scan import scan
from pacsless.identity import InstanceIdentity
from pacsless.metadata import describe_series, store_document
from pacsless.settings import Settings
from tests import native_model
from tests.dicom_files import BUNDLED
from tests.instances import store_bytes
from tests.services import app_of

FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=*"
XML = 'multipart/related; type="application/dicom+xml"'
# Redis is not there, and PostgreSQL is not asked: reading must not need them.
SETTINGS = Settings(redis="")


class Pacs:
    """A function, its archive, and a client of each."""

    def __init__(self, archive: Archive, client: Client) -> None:
        self.archive, self.client = archive, client

    def store(self, content: bytes, tenant: str = "default") -> InstanceIdentity:
        """Put a file in, addressed by what its data set says."""
        file = io.BytesIO(content)
        syntax = split_part10(file).transfer_syntax
        found = scan(file, syntax)
        identity = InstanceIdentity(
            tenant, found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid
        )
        store_bytes(self.archive, identity, content, syntax)
        return identity

    def put(self, name: str, tenant: str = "default") -> tuple[InstanceIdentity, bytes]:
        """Put one of pydicom's files in."""
        content = BUNDLED[name].read_bytes()
        return self.store(content, tenant), content

    def get(self, path: str, accept: str | None = None, **headers: str) -> TestResponse:
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        if accept is not None:
            given["Accept"] = accept
        return self.client.get(f"/{path}", headers=given)


@contextmanager
def deployed(function: str, folder: Path) -> Iterator[Pacs]:
    """Have a function run through functions-framework, on a real archive of files."""
    archive = FileArchive(folder / "archive")
    with resources.override({Archive: archive, Settings: SETTINGS, Cache: Cache()}):
        yield Pacs(archive, app_of(function).test_client())


def parts(response: TestResponse) -> list[tuple[dict[str, str], bytes]]:
    """Take a multipart body apart by its lengths, header case kept."""
    assert response.status_code == 200, response.text
    boundary = re.fullmatch(
        r'multipart/related; type="[a-z/+-]+"; boundary=([0-9a-f]{32})',
        response.headers["Content-Type"],
    )
    assert boundary
    assert response.data.startswith(b"--")  # no preamble, not even an empty line
    body, found = b"\r\n" + response.data, []
    if "Content-Length" in response.headers:
        assert int(response.headers["Content-Length"]) == len(response.data)
    mark = b"\r\n--" + boundary[1].encode()
    while not body.startswith(mark + b"--\r\n"):
        assert body.startswith(mark + b"\r\n")
        head, _, body = body[len(mark) + 2 :].partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        length = int(headers["Content-Length"]) if "Content-Length" in headers else body.find(mark)
        found.append((headers, body[:length]))
        body = body[length:]
    assert body == mark + b"--\r\n"
    return found


def document(response: TestResponse) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    found = json.loads(response.data)
    assert isinstance(found, list)
    return found


def native_models(response: TestResponse) -> list[dict[str, Any]]:
    """Read XML metadata back into DICOM JSON."""
    assert response.headers["Content-Type"].startswith(f"{XML}; ")
    found = parts(response)
    assert all(headers == {"Content-Type": "application/dicom+xml"} for headers, _ in found)
    return [native_model.read(body) for _, body in found]


def uris(found: object) -> Iterator[str]:
    if isinstance(found, dict):
        if isinstance(uri := found.get("BulkDataURI"), str):
            yield uri
        for value in found.values():
            yield from uris(value)
    elif isinstance(found, list):
        for value in found:
            yield from uris(value)


def build(pacs: Pacs, identity: InstanceIdentity) -> None:
    """Store a series' document as build_metadata does."""
    made = describe_series(pacs.archive, identity.series, SETTINGS)
    store_document(pacs.archive, identity.series.metadata_key, made.content)

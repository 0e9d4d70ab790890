"""STOW-RS for tests: the function behind nginx, both real, and a client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import urllib3
from pydicom.dataset import Dataset

from pacsless.events import InstanceReceived, InstanceStored
from tests import nginx
from tests.nginx import Front
from tests.outboxes import promised
from tests.services import FunctionProcess

BOUNDARY = "d4b1a8f07f5e4c1e"
HTTP = urllib3.PoolManager(retries=False, timeout=120)


@dataclass
class Stow:
    """The function, nginx before it, and a client."""

    function: FunctionProcess
    front: Front

    def post(
        self, body: Any, content_type: str, path: str = "/dicom-web/studies", **headers: str
    ) -> urllib3.BaseHTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return HTTP.request(
            "POST",
            self.front.url + path,
            body=body,
            headers={"Content-Type": content_type, **named},
        )

    def store(
        self, *files: bytes, path: str = "/dicom-web/studies", **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """Send files as dicomweb-client does."""
        parts = [({"Content-Type": "application/dicom"}, one) for one in files]
        return self.post(multipart(*parts), related("application/dicom"), path, **headers)

    def stored(self) -> dict[str, bytes]:
        """Every file of the archive, by key."""
        return {
            path.relative_to(self.function.archive).as_posix(): path.read_bytes()
            for path in self.function.archive.rglob("*.dcm")
        }

    def events(self) -> list[InstanceStored]:
        found = promised(self.function.spool, InstanceStored)
        return [one for one in found if isinstance(one, InstanceStored)]

    def attempts(self) -> list[InstanceReceived]:
        found = promised(self.function.spool, InstanceReceived)
        return [one for one in found if isinstance(one, InstanceReceived)]


def related(kind: str) -> str:
    return f'multipart/related; type="{kind}"; boundary={BOUNDARY}'


def multipart(*parts: tuple[Mapping[str, str], bytes]) -> bytes:
    body = BytesIO()
    for headers, content in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body.write(f"\r\n--{BOUNDARY}\r\n{lines}\r\n".encode() + content)
    body.write(f"\r\n--{BOUNDARY}--\r\n".encode())
    return body.getvalue()


def told(response: urllib3.BaseHTTPResponse) -> Dataset:
    """The Store Instances Response Module of an answer."""
    assert response.headers["Content-Type"] == "application/dicom+json", response.data
    return Dataset.from_json(response.json())


@contextmanager
def serve(folder: Path, **environment: str) -> Iterator[Stow]:
    function = FunctionProcess("stow_rs", folder, **environment)
    function.start()
    (folder / "viewer").mkdir()
    deletes = "on" if environment.get("DELETE") == "yes" else "off"
    process, front = nginx.run(folder, {"STOW_RS": function.address, "DELETE": deletes})
    try:
        yield Stow(function, front)
    finally:
        process.terminate()
        process.wait(60)
        function.stop()

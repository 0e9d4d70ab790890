"""Every function DICOMweb has, as it is deployed, and nginx; tokens of an issuer of our own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from pacsless.archive.files import FileArchive
from pacsless.identity import InstanceIdentity
from pacsless.stack.configuration import CAPABILITIES
from tests.instances import make_dataset, store
from tests.nginx import FUNCTIONS, HTTP, Front, run, write_files
from tests.services import FunctionProcess, PostgresServer, require
from tests.tokens import Issuer, issuing

TENANTS = ("north", "south")
_EXAMPLES = {
    "study": "1.2", "series": "1.3", "instance": "1.4", "frames": "1", "attribute": "7FE00010",
    "level": "studies", "resource": "-".join(["0" * 8] * 5), "relative": "series",
    "name": "LastUpdate", "frame": "0", "element": "0010-0010",
}  # fmt: skip
_PATHS: dict[str, Any] = json.loads((CAPABILITIES / "openapi.json").read_text())["paths"]
# A contract test holds this document to the functions' tables of routes.
ROUTES = [
    (
        method.upper(),
        re.sub(r"\{(\w+)\}", lambda found: _EXAMPLES[found[1]], path),
        operation["tags"][0],
    )
    for path, resource in _PATHS.items()
    for method, operation in resource.items()
    if method != "parameters"
]
"""Method, path and who answers, of all there is."""
SCOPES = {
    "GET": "dicom.read",
    "OPTIONS": "dicom.read",
    "POST": "dicom.store",
    "DELETE": "dicom.delete",
}
"""What each method needs."""


def scope_of(method: str, path: str) -> str:
    """What a request needs: a search reads, though its method is POST."""
    return SCOPES["GET" if "/orthanc/tools/" in path else method]


@dataclass(frozen=True)
class Site:
    """nginx with its functions, and who issues their tokens."""

    front: Front
    issuer: Issuer
    functions: dict[str, str]
    """Address of each, past nginx."""
    folder: Path
    stored: dict[str, InstanceIdentity]
    """The one instance of each tenant."""
    sent: list[str]
    """Every Authorization header there was."""

    def ask(
        self, authorization: str | None, path: str, method: str = "GET", **more: str
    ) -> urllib3.BaseHTTPResponse:
        """Ask nginx, or a function by its whole address."""
        url = path if path.startswith("http") else self.front.url + path
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        if authorization is not None:
            headers["Authorization"] = authorization
            self.sent.append(authorization)
        return HTTP.request(method, url, headers=headers, redirect=False)

    def good(self, **changes: Any) -> str:
        return f"Bearer {self.issuer.token(**changes)}"

    def logs(self) -> str:
        files = [*self.folder.glob("*/log"), self.front.access_log, self.front.error_log]
        return "\n".join(file.read_text() for file in files)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Site]:
    require("nginx")
    folder = tmp_path_factory.mktemp("oauth2")
    write_files(folder)
    archive = FileArchive(folder / "archive")
    stored = {one: store(archive, one, make_dataset()).identity for one in TENANTS}
    with ExitStack() as stack:
        issuer = stack.enter_context(issuing())
        functions: dict[str, str] = {}
        for name in (*FUNCTIONS, "authorize"):
            function = FunctionProcess(
                name, folder / name, ARCHIVE=f"file://{archive.root}",
                POSTGRES=postgres.settings.postgres, OAUTH2_ISSUER=issuer.url,
                DELETE="yes",
            )  # fmt: skip
            stack.callback(function.stop)
            function.start()
            functions[name] = function.address
        process, front = run(folder, values(issuer, functions))
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        yield Site(front, issuer, functions, folder, stored, [])


def values(issuer: Issuer, functions: dict[str, str]) -> dict[str, str]:
    """What nginx's template has where these functions ask for tokens of this issuer."""
    addresses = {name.upper(): address for name, address in functions.items()}
    return addresses | {
        "DELETE": "on", "AUTH_REQUEST": "/internal/authorize", "OAUTH2_ISSUER": issuer.url,
        "OAUTH2_CLIENT": "pacsless-viewer", "OAUTH2_SCOPES": "dicom.read dicom.store",
    }  # fmt: skip

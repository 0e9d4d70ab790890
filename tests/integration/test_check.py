"""``pacsless check`` with a real gateway, and DICOMweb that is as good or bad as is wanted."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pacsless.cli import main
from tests.gateway import GatewayProcess
from tests.ports import free_ports

SECRET = "s3cret-word"


class Dicomweb(http.server.ThreadingHTTPServer):
    """Sends what the gateway's archive has; `absent` answers of each kind come before."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.absent = {"instance": 0, "metadata": 2, "search": 2}
        self.status = 200
        self.spoil = False
        self.tokens: set[str | None] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/dicom-web"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Dicomweb

    def do_GET(self) -> None:
        server = self.server
        server.tokens.add(self.headers["Authorization"])
        path, _, query = self.path.partition("?")
        parts = path.removeprefix("/dicom-web/").split("/")
        kind = "search" if query else "metadata" if parts[-1] == "metadata" else "instance"
        sop = query.partition("=")[2] or parts[5]
        key = f"default/{parts[1]}/{parts[3]}/{sop}.dcm"
        if server.status != 200:
            self.answer(server.status, b"", "text/plain")
        elif server.absent[kind]:
            server.absent[kind] -= 1
            self.answer(204 if kind == "search" else 404, b"", "text/plain")
        elif kind == "instance":
            content = server.gateway.stored()[key]
            content = content[:-1] + b"!" if server.spoil else content
            body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--x--\r\n"
            self.answer(200, body, 'multipart/related; type="application/dicom"; boundary="x"')
        else:
            told = [{"00080018": {"vr": "UI", "Value": [sop]}}]
            self.answer(200, json.dumps(told).encode(), "application/dicom+json")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    one = GatewayProcess(tmp_path_factory.mktemp("gateway"))
    one.start()
    yield one
    one.close()


@pytest.fixture
def dicomweb(gateway: GatewayProcess) -> Iterator[Dicomweb]:
    with Dicomweb(gateway) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def check(root: str, port: int, *more: str) -> Result:
    found = CliRunner().invoke(
        main, ["check", "--dicomweb", root, "--dicom", f"127.0.0.1:{port}", *more]
    )
    assert SECRET not in found.output
    assert found.exception is None or isinstance(found.exception, SystemExit)
    return found


def test_an_instance_goes_all_the_way(gateway: GatewayProcess, dicomweb: Dicomweb) -> None:
    before = set(gateway.stored())
    found = check(dicomweb.root, gateway.port, "--json")
    assert found.exit_code == 0, found.output
    told: dict[str, Any] = json.loads(found.stdout)
    assert told["ok"]
    assert [one["name"] for one in told["steps"]] == [
        "C-ECHO", "C-STORE", "WADO-RS, the same bytes", "QIDO-RS", "metadata",
    ]  # fmt: skip
    assert all(one["ok"] and one["seconds"] >= 0 for one in told["steps"])
    assert dicomweb.absent == {"instance": 0, "metadata": 0, "search": 0}
    # Another one each time, or the second would be a repetition that shows nothing.
    again = check(dicomweb.root, gateway.port)
    assert again.exit_code == 0
    assert [line.split()[0] for line in again.stdout.splitlines()] == [
        "C-ECHO", "C-STORE", "WADO-RS,", "QIDO-RS", "metadata",
    ]  # fmt: skip
    new = set(gateway.stored()) - before
    assert len({key.split("/")[1] for key in new}) == len(new) == 2


def test_other_bytes_are_noticed(gateway: GatewayProcess, dicomweb: Dicomweb) -> None:
    dicomweb.spoil = True
    found = check(dicomweb.root, gateway.port)
    assert found.exit_code == 1
    assert "the same bytes failed: WADO-RS sends another data set" in found.stderr
    assert "QIDO-RS" not in found.stdout


def test_what_does_not_come_is_said(gateway: GatewayProcess, dicomweb: Dicomweb) -> None:
    dicomweb.absent["search"] = 1000
    found = check(dicomweb.root, gateway.port, "--timeout", "1", "--json")
    assert found.exit_code == 1
    last = json.loads(found.stdout)["steps"][-1]
    assert (last["name"], last["ok"]) == ("QIDO-RS", False)
    assert last["detail"] == "not after 1 s: nothing is found"
    assert last["seconds"] < 5


def test_a_token_is_asked_for_and_sent(
    gateway: GatewayProcess, dicomweb: Dicomweb, tmp_path: Path
) -> None:
    dicomweb.status = 401
    found = check(dicomweb.root, gateway.port)
    assert found.exit_code == 1
    assert "is answered 401: it wants an access token, give --token-file" in found.stderr
    dicomweb.status = 200
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\n")
    found = check(dicomweb.root, gateway.port, "--token-file", str(token))
    assert found.exit_code == 0, found.output
    assert dicomweb.tokens == {None, f"Bearer {SECRET}"}


def test_who_does_not_answer_is_named(gateway: GatewayProcess, dicomweb: Dicomweb) -> None:
    (nobody,) = free_ports(1)
    found = check(dicomweb.root, nobody)
    assert found.exit_code == 1
    assert found.stderr == (f"pacsless: C-ECHO failed: 127.0.0.1:{nobody}: nothing listens there\n")
    found = check(f"http://u:{SECRET}@127.0.0.1:{nobody}/x", gateway.port, "--timeout", "1")
    assert found.exit_code == 1
    assert f"not after 1 s: 127.0.0.1:{nobody}: nothing listens there" in found.stderr
    found = check("no address", gateway.port, "--timeout", "1")
    assert found.exit_code == 1


def test_a_rejected_association_is_said_with_its_reason(gateway: GatewayProcess) -> None:
    found = check("http://127.0.0.1:1", gateway.port, "--called", "NOBODY")
    assert found.exit_code == 1
    where = f"C-ECHO failed: NOBODY at 127.0.0.1:{gateway.port}"
    assert f"{where}: association rejected: called AE title not recognised" in found.stderr

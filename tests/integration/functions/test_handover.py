"""Requests to a function under gunicorn: by threads that stay, and by others for who waits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.ports import free_ports

FUNCTION = '''
import sys
from pacsless.web import Request, Response, Route, plain, serves

tasks = []


def search_studies(request: Request) -> Response:
    """Tell how many tasks gunicorn has given its threads so far, this one included."""
    frame = sys._getframe()
    while frame.f_code.co_qualname != "_WorkItem.run":
        frame = frame.f_back
    if all(one is not frame.f_locals["self"] for one in tasks):
        tasks.append(frame.f_locals["self"])
    return plain(200, str(len(tasks)))


echo = serves("echo", [Route("GET", "/studies", search_studies, "PS3.18 §10.6")])
'''
THREADS = 2


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    source, log = tmp_path / "main.py", tmp_path / "log"
    source.write_text(FUNCTION)
    (port,) = free_ports(1)
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "functions_framework"],
            env={
                **os.environ, "FUNCTION_TARGET": "echo", "FUNCTION_SOURCE": str(source),
                "HOST": "127.0.0.1", "PORT": str(port), "THREADS": str(THREADS),
                "XDG_RUNTIME_DIR": str(tmp_path), "PACSLESS_REDIS": "",
            },
            stdout=output, stderr=output,
        )  # fmt: skip

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return ask(HTTPConnection("127.0.0.1", port, timeout=20), "/healthz")[0] == 200
        except OSError:
            return False

    eventually(ready)
    yield port
    process.terminate()
    assert process.wait(60) == 0


def ask(connection: HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_thread_stays_for_requests_that_follow_at_once(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)

    def stayed() -> bool:
        # On a slow machine a request may come after the thread has gone.
        before, after = (int(ask(connection, "/studies")[1]) for _ in range(2))
        return before == after

    eventually(stayed)


def test_who_waits_is_not_forgotten_for_who_is_quick(port: int) -> None:
    def many(_: int) -> set[int]:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        return {ask(connection, "/studies")[0] for _ in range(50)}

    clients = 4 * THREADS
    with ThreadPoolExecutor(clients) as pool:
        assert list(pool.map(many, range(clients))) == [{200}] * clients


def test_a_connection_that_is_closed_or_half_a_request_holds_nobody_up(port: int) -> None:
    half = [HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(THREADS)]
    for connection in half:
        ask(connection, "/studies")
        connection.close()
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    assert ask(connection, "/studies")[0] == 200
    assert connection.sock is not None
    connection.sock.sendall(b"GET /studies HTTP/1.1\r\nHost: x\r\n")
    assert ask(HTTPConnection("127.0.0.1", port, timeout=20), "/studies")[0] == 200

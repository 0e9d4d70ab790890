"""An HTTP function as it is served: in threads, to the end, and never cut off unnoticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.eventually import eventually
from tests.ports import free_ports

FUNCTION = '''
import os, threading, time
from pacsless.web import Request, Response, Route, plain, serves

together = threading.Barrier(8, timeout=60)


def search_studies(request: Request) -> Response:
    """Answer what was asked."""
    return plain(200, f"{request.http.args.get('PatientName', '')} {os.getpid()}")


def wait(request: Request) -> Response:
    """Answer when eight are here."""
    together.wait()
    return plain(200, "together")


def large(request: Request) -> Response:
    """Tell when the client has it."""
    body = (bytes([number]) * 1000000 for number in range(100))
    response = Response(body, 200)
    response.content_length = 100000000
    return response


def cut(request: Request) -> Response:
    """Fail after the beginning."""
    def body():
        yield b"x" * 100
        raise ValueError("Jane Doe")
    response = Response(body(), 200)
    if "length" in request.http.args:
        response.content_length = int(request.http.args["length"])
    return response


def slow(request: Request) -> Response:
    """Begin, and end a second later."""
    def body():
        yield b"begun"
        time.sleep(1)
        yield b"ended"
    return Response(body(), 200)


def crash(request: Request) -> Response:
    """End this process as a decoder does that crashes."""
    os._exit(139)


echo = serves("echo", [
    Route("GET", "/studies", search_studies, "PS3.18 §10.6"),
    *(Route("GET", f"/{one.__name__}", one, "") for one in (wait, large, cut, slow, crash)),
])
'''
DECLARATION = """
[project]
name = "echo"
description = "Answers what was asked."
[tool.pacsless]
kind = "http"
"""


class Served:
    def __init__(self, folder: Path) -> None:
        source = folder / "echo" / "main.py"
        source.parent.mkdir()
        source.write_text(FUNCTION)
        source.with_name("pyproject.toml").write_text(DECLARATION)
        (self.port,) = free_ports(1)
        self.log = folder / "log"
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pacsless.serve"],
                env={
                    **os.environ, "FUNCTION_TARGET": "echo", "FUNCTION_SOURCE": str(source),
                    "HOST": "127.0.0.1", "PORT": str(self.port), "PACSLESS_REDIS": "",
                },
                stdout=output, stderr=output,
            )  # fmt: skip

    def connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return ask(self.connection(), "/healthz") == (200, b'{"code": "alive"}')
        except OSError:
            return False


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    try:
        eventually(served.ready)
        yield served
    finally:
        served.process.kill()
        served.process.wait()


def ask(connection: HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_many_are_answered_at_a_time(served: Served) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(served.connection(), "/wait"), range(8)))
    assert answers == [(200, b"together\n")] * 8


def test_one_who_reads_slowly_holds_nobody_up(served: Served) -> None:
    """granian 2.7 started no thread for a second request alone (emmett-framework/granian#873)."""
    slow = served.connection()
    slow.request("GET", "/large")
    assert slow.getresponse().read(1) == b"\0"
    assert ask(served.connection(), "/studies")[0] == 200
    slow.close()


def test_who_reads_slowly_holds_nobody_up(served: Served) -> None:
    slow = [served.connection() for _ in range(16)]
    for one in slow:
        one.request("GET", "/large")
    assert ask(served.connection(), "/studies")[0] == 200
    answer = slow[0].getresponse()
    assert sum(iter(lambda: len(answer.read(1 << 20)), 0)) == 100_000_000
    for one in slow:
        one.close()


def test_a_connection_that_is_closed_or_half_a_request_holds_nobody_up(served: Served) -> None:
    half = [served.connection() for _ in range(100)]
    for one in half:
        one.connect()
        assert one.sock is not None
        one.sock.sendall(b"GET /studies HTTP/1.1\r\nHost: x\r\n")
    assert ask(served.connection(), "/studies")[0] == 200
    for one in half:
        one.close()
    assert ask(served.connection(), "/studies")[0] == 200


@pytest.mark.parametrize("path", ["/cut", "/cut?length=10000000"])
def test_an_answer_that_fails_midway_does_not_look_whole(served: Served, path: str) -> None:
    with pytest.raises((IncompleteRead, RemoteDisconnected)):
        ask(served.connection(), path)
    assert ask(served.connection(), "/studies")[0] == 200
    log = served.log.read_text()
    assert "an answer was cut off" in log
    assert "Jane Doe" not in log


def test_a_small_answer_that_fails_midway_is_refused(served: Served) -> None:
    status, body = ask(served.connection(), "/cut?length=200")
    assert (status, body[:15]) == (500, b"Something went ")
    assert "Jane Doe" not in served.log.read_text()


def test_any_character_is_taken_as_it_was_sent(served: Served) -> None:
    for name in ("Yamada^Tarou=山田^太郎", "Ψ*", "O'Neill^Ann (é)"):
        status, body = ask(served.connection(), f"/studies?PatientName={quote(name)}")
        assert (status, body.decode().rpartition(" ")[0]) == (200, name)


def test_a_head_has_the_length_and_no_body(served: Served) -> None:
    connection = served.connection()
    _, body = ask(connection, "/studies")
    connection.request("HEAD", "/studies")
    answer = connection.getresponse()
    assert (answer.getheader("Content-Length"), answer.read()) == (str(len(body)), b"")
    assert ask(connection, "/studies") == (200, body)


def test_who_has_begun_to_answer_ends_before_it_stops(served: Served) -> None:
    answers: list[tuple[int, bytes]] = []
    connection = served.connection()
    connection.request("GET", "/slow")
    answer = connection.getresponse()
    thread = threading.Thread(target=lambda: answers.append((answer.status, answer.read())))
    thread.start()
    served.process.send_signal(signal.SIGTERM)
    thread.join()
    assert answers == [(200, b"begunended")]
    assert served.process.wait(60) == 0


def test_a_worker_that_crashes_is_followed_by_another(served: Served) -> None:
    before = ask(served.connection(), "/studies")[1]
    with pytest.raises(OSError):
        ask(served.connection(), "/crash")

    def again() -> bool:
        try:
            return ask(served.connection(), "/studies")[1] not in (b"", before)
        except OSError:
            return False

    eventually(again)


def test_it_keeps_no_port_when_it_is_killed(served: Served) -> None:
    served.process.kill()
    served.process.wait()

    def gone() -> bool:
        try:
            served.connection().connect()
        except ConnectionRefusedError:
            return True
        return False

    eventually(gone)

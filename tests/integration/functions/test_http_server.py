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
ended = []


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
    response.call_on_close(lambda: ended.append(1))
    if "length" in request.http.args:
        response.content_length = int(request.http.args["length"])
    return response


def closed(request: Request) -> Response:
    """Tell how many answers that failed were closed."""
    return plain(200, str(len(ended)))


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
    Route("GET POST", "/studies", search_studies, "PS3.18 §10.6"),
    *(Route("GET", f"/{one.__name__}", one, "") for one in (wait, large, cut, closed, slow, crash)),
])
'''
THREADS = 16
DECLARATION = """
[project]
name = "echo"
description = "Answers what was asked."
[tool.pacsless]
kind = "http"
"""


class Served:
    def __init__(self, folder: Path, function: str = FUNCTION, port: int = 0) -> None:
        source = folder / "echo" / "main.py"
        source.parent.mkdir()
        source.write_text(function)
        source.with_name("pyproject.toml").write_text(DECLARATION)
        self.port = port or free_ports(1)[0]
        self.log = folder / "log"
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pacsless.serve"],
                env={
                    **os.environ, "FUNCTION_TARGET": "echo", "FUNCTION_SOURCE": str(source),
                    "HOST": "127.0.0.1", "PORT": str(self.port), "PACSLESS_REDIS": "",
                    "THREADS": str(THREADS),
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


def test_who_read_slowly_hold_nobody_up_however_many(served: Served) -> None:
    slow = [served.connection() for _ in range(2 * THREADS)]
    for one in slow:
        one.request("GET", "/large")
    answers = [one.getresponse() for one in slow]
    assert {answer.status for answer in answers} == {200, 503}
    refused = next(answer for answer in answers if answer.status == 503)
    assert refused.getheader("Retry-After") == "1"
    for method, path in (("GET", "/healthz"), ("GET", "/studies"), ("POST", "/studies")):
        # Who has stored something is told so, however many read.
        connection = served.connection()
        connection.request(method, path, body=b"x" * 1000 if method == "POST" else None)
        assert connection.getresponse().status == 200
    read = next(answer for answer in answers if answer.status == 200)
    assert sum(iter(lambda: len(read.read(1 << 20)), 0)) == 100_000_000
    for one in slow:
        one.close()
    for answer in answers:
        answer.close()

    def others_can() -> bool:
        return ask(served.connection(), "/large")[0] == 200

    eventually(others_can)


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
    eventually(lambda: ask(served.connection(), "/closed") == (200, b"1\n"))
    log = served.log.read_text()
    assert "an answer was cut off" in log
    assert "Jane Doe" not in log


def test_a_small_answer_that_fails_midway_is_refused(served: Served) -> None:
    status, body = ask(served.connection(), "/cut?length=200")
    assert (status, body[:15]) == (500, b"Something went ")
    assert ask(served.connection(), "/closed") == (200, b"1\n")
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
    for _ in range(3):  # faster than granian takes for a loop
        before = ask(served.connection(), "/studies")[1]
        with pytest.raises(OSError):
            ask(served.connection(), "/crash")

        def again(before: bytes = before) -> bool:
            try:
                return ask(served.connection(), "/studies")[1] not in (b"", before)
            except OSError:
                return False

        eventually(again)


def test_a_function_that_cannot_be_loaded_is_given_up(tmp_path: Path) -> None:
    served = Served(tmp_path, "import nothing_of_that_name")
    assert served.process.wait(120) != 0
    assert "nothing_of_that_name" in served.log.read_text()


def test_a_port_that_is_taken_is_named(served: Served, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = Served(tmp_path / "second", port=served.port)
    assert second.process.wait(120) == 1
    assert f"cannot listen on 127.0.0.1:{served.port}" in second.log.read_text()
    assert ask(served.connection(), "/studies")[0] == 200


@pytest.mark.parametrize(("tenant", "status"), [("", 400), ("é", 400), ("north", 200)])
def test_a_tenant_that_is_no_name_is_not_the_default_one(
    served: Served, tenant: str, status: int
) -> None:
    connection = served.connection()
    connection.request("GET", "/studies", headers={"X-Pacsless-Tenant": tenant.encode()})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == status


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

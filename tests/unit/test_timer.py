"""The local timer, with a function that counts its ticks."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result

from pacsless import timer
from pacsless.cli import main
from pacsless.codec import now
from pacsless.errors import NotFound
from pacsless.schedule import Schedule
from tests.eventually import eventually
from tests.ports import free_ports


class Function(http.server.ThreadingHTTPServer):
    """Answers with the statuses it is given, then 200, and keeps the headers of requests."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.ticks = list(statuses), []  # type: ignore[var-annotated]
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Function

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.ticks.append(dict(self.headers))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def function() -> Iterator[Function]:
    with Function(500, 409) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


class Often(Schedule):
    """Every few milliseconds."""

    def after(self, moment: datetime) -> datetime:
        return moment + timedelta(milliseconds=20)


def test_ticks_go_on_after_failures_until_it_is_stopped(function: Function) -> None:
    done = threading.Event()
    (nobody,) = free_ports(1)
    often = Often("* * * * *", ())
    targets = {"a": (often, function.url), "b": (often, f"http://127.0.0.1:{nobody}")}
    thread = threading.Thread(target=timer.keep_time, args=(targets, done))
    thread.start()
    try:
        eventually(lambda: len(function.ticks) >= 4)
    finally:
        done.set()
        thread.join(60)
    assert not thread.is_alive()
    assert function.statuses == []
    ids = [one["ce-id"] for one in function.ticks]
    assert len(set(ids)) == len(ids)
    for one in function.ticks:
        assert (one["ce-specversion"], one["ce-type"]) == ("1.0", "dev.knative.sources.ping")
        assert one["ce-time"] <= now()


def test_it_ends_while_a_function_is_at_it() -> None:
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        targets = {"a": (Often("* * * * *", ()), f"http://127.0.0.1:{silent.getsockname()[1]}")}
        thread = threading.Thread(target=timer.keep_time, args=(targets, done))
        thread.start()
        asking, _ = silent.accept()
        with asking:
            assert asking.recv(4) == b"POST"
            done.set()
            thread.join(20)
            assert not thread.is_alive()


def test_nothing_is_posted_before_its_time(function: Function) -> None:
    done = threading.Event()
    later = Schedule.parse(f"0 0 1 {datetime.now(UTC).month % 12 + 1} *")
    thread = threading.Thread(target=timer.keep_time, args=({"a": (later, function.url)}, done))
    thread.start()
    done.set()
    thread.join(60)
    assert not thread.is_alive() and function.ticks == []


def test_a_function_without_a_schedule_is_refused() -> None:
    with pytest.raises(NotFound, match="extract_tags has no schedule; reconcile"):
        timer.run({"extract_tags": "http://127.0.0.1:1"})


def once(url: str, *more: str) -> Result:
    found = CliRunner().invoke(main, ["timer", "--once", "reconcile", "--url", url, *more])
    assert "s3cret" not in found.output
    return found


def test_one_tick_is_posted_and_its_answer_is_the_exit_code(function: Function) -> None:
    found = [once(function.url) for _ in range(3)]
    assert [one.exit_code for one in found] == [1, 1, 0]
    assert "reconcile at http://127.0.0.1:" in found[0].stderr
    assert "answers 500; its log says more" in found[0].stderr
    assert found[2].stdout == "reconcile answers 200\n"
    assert len(function.ticks) == 3
    assert function.ticks[0]["ce-type"] == "dev.knative.sources.ping"


def test_who_does_not_answer_a_tick_is_named_without_a_password() -> None:
    (nobody,) = free_ports(1)
    found = once(f"http://user:s3cret@127.0.0.1:{nobody}/")
    assert (found.exit_code, found.stdout) == (1, "")
    assert f"http://127.0.0.1:{nobody}/ does not answer: nothing listens there" in found.stderr
    found = once("http://user:s3cret@reconcile.invalid/")
    assert "its name cannot be resolved" in found.stderr
    found = once("ftp:s3cret@x")
    assert found.exit_code == 1
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = once(f"http://127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.2")
    assert found.exit_code == 1
    assert "not done in time" in found.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--once", "reconcile"],
        ["--url", "http://x"],
        ["--once", "reconcile", "--url", "http://x", "--target", "reconcile=http://x"],
    ],
)
def test_either_the_schedule_or_once(arguments: list[str]) -> None:
    found = CliRunner().invoke(main, ["timer", *arguments])
    assert found.exit_code == 2
    assert "give --target, or --once with --url" in found.stderr


def test_a_tick_is_for_functions_with_a_schedule(function: Function) -> None:
    arguments = ["timer", "--once", "extract-tags", "--url", function.url]
    found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 1
    assert "extract_tags has no schedule; reconcile" in found.stderr
    assert function.ticks == []

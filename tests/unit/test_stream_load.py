"""The Stream Load client against answers a Doris may give, over real sockets."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pacsless.errors import Unavailable, Unprocessable
from pacsless.settings import Settings
from pacsless.stream_load import DataQuality, Loaded, OutcomeUnknown, StreamLoad
from tests.ports import free_ports

PASSWORD = "gehéim@:/"
ROWS: list[dict[str, Any]] = [{"a": 1, "b": "王"}, {"a": 2, "b": None}]
BODY = '{"a":1,"b":"王"}\n{"a":2,"b":null}'.encode()
PATH = "/api/pacsless/t/_stream_load"


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Doris:
    """A front end and a back end that answer as a test says."""

    requests: list[Request] = field(default_factory=list)
    states: list[Any] = field(default_factory=lambda: ["UNKNOWN"])
    outcome: Any = None
    location: str = ""
    front: Callable[[], tuple[int, Any]] | None = None
    port: int = 0

    @property
    def client(self) -> StreamLoad:
        return StreamLoad(
            f"http://127.0.0.1:{self.port}/",
            "pacsless",
            "loader",
            PASSWORD,
            [f"127.0.0.1:{self.port}"],
            timeout=20,
            patience=5,
        )

    @property
    def puts(self) -> list[Request]:
        return [one for one in self.requests if one.method == "PUT"]


@pytest.fixture
def doris() -> Iterator[Doris]:
    fake = Doris()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _read(self) -> Request:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.command, self.path, dict(self.headers), body)
            fake.requests.append(request)
            return request

        def _send(self, status: int, body: Any, **headers: str) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_PUT(self) -> None:
            request = self._read()
            if "label" not in request.headers:
                if fake.front:
                    self._send(*fake.front())
                else:
                    self._send(307, b"", Location=fake.location)
            elif fake.outcome is None:
                self.close_connection = True
            else:
                self._send(200, fake.outcome)

        def do_GET(self) -> None:
            self._read()
            state = fake.states.pop(0) if len(fake.states) > 1 else fake.states[0]
            if state is None:
                self.close_connection = True
            else:
                self._send(200, {"msg": "success", "code": 0, "data": state, "count": 0})

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        fake.port = server.server_address[1]
        fake.location = f"http://loader:s3cret@127.0.0.1:{fake.port}{PATH}?"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


def outcome(status: str, message: str = "OK", **more: Any) -> dict[str, Any]:
    return {
        "TxnId": 1, "Label": "l", "Status": status, "Message": message, "NumberTotalRows": 2,
        "NumberLoadedRows": 2, "NumberFilteredRows": 0, "NumberUnselectedRows": 0, **more,
    }  # fmt: skip


def test_two_hops_the_first_empty_and_our_own_credentials_on_both(doris: Doris) -> None:
    doris.outcome = outcome("Success")
    assert doris.client.load("t", ROWS, "l-1") == Loaded("l-1", 2)
    probe, put = doris.puts
    assert (probe.body, put.body) == (b"", BODY)
    assert probe.path == PATH
    assert put.path.rstrip("?") == PATH
    for request in (probe, put):
        kind, encoded = request.headers["Authorization"].split()
        assert kind == "Basic"
        assert base64.b64decode(encoded).decode() == f"loader:{PASSWORD}"
        assert request.headers["Expect"] == "100-continue"
        assert request.headers["group_commit"] == "off_mode"
    assert "label" not in probe.headers, "an empty load must not use the label up"
    assert {name: put.headers[name] for name in ("label", "format", "read_json_by_line",
            "strict_mode", "max_filter_ratio", "timezone", "Content-Length")} == {
        "label": "l-1",
        "format": "json",
        "read_json_by_line": "true",
        "strict_mode": "true",
        "max_filter_ratio": "0",
        "timezone": "UTC",
        "Content-Length": str(len(BODY)),
    }  # fmt: skip
    assert "Transfer-Encoding" not in put.headers


@pytest.mark.parametrize(
    ("answer", "states", "before"),
    [
        (outcome("Success"), ["UNKNOWN"], False),
        (outcome("Publish Timeout"), ["UNKNOWN"], False),
        (outcome("Label Already Exists", ExistingJobStatus="FINISHED"), ["UNKNOWN"], True),
        (outcome("Label Already Exists", ExistingJobStatus="RUNNING"),
         ["PREPARE", "PRECOMMITTED", "VISIBLE"], True),
        (outcome("Label Already Exists", ExistingJobStatus=""), ["COMMITTED"], True),
        (outcome("Label Already Exists"), ["PREPARE", "COMMITTED"], True),
        (None, ["PREPARE", "VISIBLE"], True),
        (b"<html>bad gateway</html>", ["VISIBLE"], True),
        ([], ["VISIBLE"], True),
        ({"unheard": "of"}, ["VISIBLE"], True),
    ],
)  # fmt: skip
def test_committed(doris: Doris, answer: Any, states: list[str], before: bool) -> None:
    doris.outcome, doris.states = answer, states
    assert doris.client.load("t", ROWS, "l") == Loaded("l", 2, before)


@pytest.mark.parametrize("state", ["ABORTED", "UNKNOWN"])
@pytest.mark.parametrize(
    "answer", [None, b"", outcome("Label Already Exists", ExistingJobStatus="RUNNING")]
)
def test_what_was_not_committed_is_to_be_repeated(doris: Doris, answer: Any, state: str) -> None:
    doris.outcome, doris.states = answer, [state]
    with pytest.raises(Unavailable) as caught:
        doris.client.load("t", ROWS, "l")
    assert caught.value.code == "load-aborted"


@pytest.mark.parametrize("states", [["PREPARE"], [None], [17], ["not a state"]])
def test_an_unknown_outcome_is_never_taken_for_success(doris: Doris, states: list[Any]) -> None:
    doris.states = states
    client = StreamLoad(
        f"http://127.0.0.1:{doris.port}", "pacsless", "loader", PASSWORD,
        [f"127.0.0.1:{doris.port}"], patience=0.3,
    )  # fmt: skip
    with pytest.raises(OutcomeUnknown):
        client.load("t", ROWS, "l")


@pytest.mark.parametrize(
    ("message", "kind", "code"),
    [
        ("[INVALID_ARGUMENT]MARIA^ANNA", Unprocessable, "load-refused"),
        ("body exceed max size: MARIA^ANNA", Unprocessable, "load-refused"),
        ("[E-235]version count: 2001, exceed limit: 2000 MARIA^ANNA", Unavailable,
         "too-many-versions"),
        ("[TIMEOUT]MARIA^ANNA", Unavailable, "load-failed"),
        ("[ANALYSIS_ERROR]unknown table, tableName=t", Unavailable, "load-failed"),
        ("something nobody has seen: MARIA^ANNA", Unavailable, "load-failed"),
    ],
)  # fmt: skip
def test_failures(doris: Doris, message: str, kind: type[Exception], code: str) -> None:
    doris.outcome = outcome("Fail", message, NumberTotalRows=0, NumberLoadedRows=0)
    with pytest.raises(kind) as caught:
        doris.client.load("t", ROWS, "l")
    assert getattr(caught.value, "code") == code  # noqa: B009
    assert "MARIA" not in str(caught.value)


def test_refused_rows_are_counted_and_never_quoted(doris: Doris) -> None:
    doris.outcome = outcome(
        "Fail",
        "[DATA_QUALITY_ERROR]too many filtered rows, MARIA^ANNA",
        NumberFilteredRows=1,
        NumberLoadedRows=0,
        FirstErrorMsg="MARIA^ANNA",
        ErrorURL="http://be:8040/api/_load_error_log?file=x",
    )
    with pytest.raises(DataQuality) as caught:
        doris.client.load("t", ROWS, "l")
    error = caught.value
    assert (error.total, error.filtered) == (2, 1)
    assert error.error_url == "http://be:8040/api/_load_error_log?file=x"
    assert "1 of 2 rows" in str(error)
    assert "MARIA" not in str(error)


def test_a_success_that_lost_rows_is_none(doris: Doris) -> None:
    doris.outcome = outcome("Success", NumberTotalRows=1, NumberLoadedRows=1)
    with pytest.raises(DataQuality, match="1 of 2 rows"):
        doris.client.load("t", ROWS, "l")


@pytest.mark.parametrize(
    "location",
    [
        "http://loader:s3cret@evil.example:8040" + PATH,
        "http://loader:s3cret@127.0.0.1:1" + PATH,
        "http://loader:s3cret@127.0.0.1:99999" + PATH,
        "ftp://loader:s3cret@127.0.0.1:{port}" + PATH,
        "http://loader:s3cret@127.0.0.1:{port}/api/pacsless/other/_stream_load",
        "",
        "//",
    ],
)
def test_redirects_elsewhere_are_refused_and_never_told_whole(doris: Doris, location: str) -> None:
    doris.location = location.replace("{port}", str(doris.port))
    with pytest.raises(Unavailable) as caught:
        doris.client.load("t", ROWS, "l")
    assert caught.value.code == "warehouse-redirect"
    assert "s3cret" not in str(caught.value)
    assert [one.body for one in doris.puts] == [b""], "no rows may leave"


@pytest.mark.parametrize(
    ("allowed", "host", "fits"),
    [
        ("be-0.be-internal.ns.svc:8040", "be-0.be-internal.ns.svc:8040", True),
        (".be-internal.ns.svc:8040", "be-0.be-internal.ns.svc:8040", True),
        (".be-internal.ns.svc:8040", "be-0.be-internal.ns.svc:8041", False),
        (".be-internal.ns.svc:8040", "evilbe-internal.ns.svc:8040", False),
        ("be:8040", "BE:8040", True),
        ("be:8040", "be.evil.example:8040", False),
        ("[::1]:8040", "[::1]:8040", True),
        ("be", "be:8040", False),
    ],
)
def test_the_allow_list(allowed: str, host: str, fits: bool) -> None:
    client = StreamLoad("http://127.0.0.1:1", "pacsless", "u", "p", [allowed])
    location = f"http://u:p@{host}{PATH}"
    if fits:
        assert client._checked(location, PATH) == f"http://{host.lower()}{PATH}"
    else:
        with pytest.raises(Unavailable, match="does not allow"):
            client._checked(location, PATH)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, {"status": "FAILED", "msg": "There is no 100-continue header"}),
         "warehouse-no-redirect"),
        ((200, {"msg": "Unauthorized", "code": 401, "data": "", "count": 0}),
         "warehouse-credentials"),
        ((401, {}), "warehouse-credentials"),
        ((200, outcome("Success")), "warehouse-no-redirect"),
        ((502, b"<html>"), "warehouse-no-redirect"),
    ],
)  # fmt: skip
def test_a_front_end_that_does_not_redirect(
    doris: Doris, answer: tuple[int, Any], code: str
) -> None:
    doris.front = lambda: answer
    with pytest.raises(Unavailable) as caught:
        doris.client.load("t", ROWS, "l")
    assert caught.value.code == code
    assert len(doris.puts) == 1


def test_nobody_listens(doris: Doris) -> None:
    [closed] = free_ports(1)
    client = StreamLoad(f"http://127.0.0.1:{closed}", "pacsless", "u", "p", [])
    with pytest.raises(Unavailable) as caught:
        client.load("t", ROWS, "l")
    assert caught.value.code == "warehouse-down"
    with pytest.raises(Unavailable):
        client.check()
    doris.location = f"http://127.0.0.1:{closed}{PATH}"
    client = StreamLoad(
        f"http://127.0.0.1:{doris.port}", "pacsless", "u", "p", [f"127.0.0.1:{closed}"]
    )
    with pytest.raises(Unavailable) as caught:
        client.load("t", ROWS, "l")
    assert caught.value.code == "warehouse-down"


@pytest.mark.parametrize("label", ["", "a b", "é", "a" * 129, "a.b", "a\n"])
def test_labels_that_some_release_refuses_are_a_mistake_of_ours(label: str) -> None:
    client = StreamLoad("http://127.0.0.1:1", "pacsless", "u", "p", [])
    with pytest.raises(ValueError, match="a label is"):
        client.load("t", ROWS, label)


def test_no_rows_no_load() -> None:
    client = StreamLoad("http://127.0.0.1:1", "pacsless", "u", "p", [])
    assert client.load("t", [], "l") == Loaded("l", 0)


def test_half_a_surrogate_pair_does_not_stop_a_batch(doris: Doris) -> None:
    doris.outcome = outcome("Success", NumberTotalRows=1, NumberLoadedRows=1)
    doris.client.load("t", [{"a": "x\ud800"}], "l")
    assert doris.puts[-1].body == b'{"a":"x?"}'


def test_settings_name_the_warehouse(doris: Doris) -> None:
    settings = Settings(
        doris=f"http://127.0.0.1:{doris.port}",
        doris_database="elsewhere",
        doris_user="u",
        doris_password="p",
        doris_redirect_hosts=(f"127.0.0.1:{doris.port}",),
    )
    doris.location = f"http://127.0.0.1:{doris.port}/api/elsewhere/t/_stream_load"
    doris.outcome = outcome("Success")
    assert StreamLoad.from_settings(settings).load("t", ROWS, "l").rows == 2

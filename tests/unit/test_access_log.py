"""From nginx's lines to events: none lost, none invented, whatever happens in between."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from pacsless.access_lines import MAX_ACCESSES, MAX_BYTES, events_of, read_line
from pacsless.access_log import SOURCE, FollowedLog, ship
from pacsless.access_routes import route_of
from pacsless.codec import to_record
from pacsless.errors import Unavailable, Unprocessable
from pacsless.events import AccessesLogged
from tests.eventually import eventually


def entry(number: int, **changes: Any) -> bytes:
    line = {
        "time": "2026-11-23T08:46:05.123+01:00", "request_id": f"{number:032x}",
        "tenant": "default", "method": "GET", "path": "/dicom-web/studies/1.2/metadata",
        "status": 200, "bytes_sent": 1234, "request_time": 0.012, "remote_addr": "127.0.0.1",
        "user_agent": "curl", "accept": "*/*",
    }  # fmt: skip
    return json.dumps(line | changes).encode() + b"\n"


@pytest.mark.parametrize(
    ("path", "route", "uids"),
    [
        ("/dicom-web/studies", "search_studies", ("", "", "")),
        ("/dicom-web/series", "search_series", ("", "", "")),
        ("/dicom-web/instances", "search_instances", ("", "", "")),
        ("/dicom-web/changefeed", "read_change_feed", ("", "", "")),
        ("/dicom-web/openapi.json", "retrieve_openapi_document", ("", "", "")),
        ("/tenants/a/dicom-web/changefeed/latest", "read_latest_change", ("", "", "")),
        ("/dicom-web/studies/1.2/series", "search_series", ("1.2", "", "")),
        ("/dicom-web/studies/1.2/instances", "search_instances", ("1.2", "", "")),
        ("/dicom-web/studies/1.2/series/1.3/instances", "search_instances", ("1.2", "1.3", "")),
        ("/dicom-web/studies/1.2", "retrieve_study", ("1.2", "", "")),
        ("/dicom-web/studies/1.2/series/1.3", "retrieve_series", ("1.2", "1.3", "")),
        ("/tenants/a/dicom-web/studies/1.2/metadata", "retrieve_study_metadata", ("1.2", "", "")),
        (
            "/dicom-web/studies/1.2/series/1.3/instances/1.4",
            "retrieve_instance",
            ("1.2", "1.3", "1.4"),
        ),
        (
            "/dicom-web/studies/1.2/series/1.3/instances/1.4/frames/1,2",
            "retrieve_frames",
            ("1.2", "1.3", "1.4"),
        ),
        (
            "/dicom-web/studies/1.2/series/1.3/instances/1.4/frames/1/rendered",
            "retrieve_rendered_frames",
            ("1.2", "1.3", "1.4"),
        ),
        (
            "/dicom-web/studies/1.2/series/1.3/instances/1.4/bulkdata/7FE00010",
            "retrieve_bulkdata",
            ("1.2", "1.3", "1.4"),
        ),
        (
            "/dicom-web/studies/1.2/series/1.3/instances/1.4/frames/1/thumbnail",
            "retrieve_thumbnail_frames",
            ("1.2", "1.3", "1.4"),
        ),
        ("/dicom-web/studies/1.2/series/1.3/thumbnail", "retrieve_thumbnail_series",
         ("1.2", "1.3", "")),
        ("/dicom-web/studies/Doe^John", "retrieve_study", ("", "", "")),
        ("/dicom-web", "other", ("", "", "")),
        ("/dicom-web/nothing", "other", ("", "", "")),
        ("", "other", ("", "", "")),
        ("/wado", "retrieve_wado_uri", ("", "", "")),
        ("/dicom-web/wado", "retrieve_wado_uri", ("", "", "")),
        ("/tenants/a/wado", "retrieve_wado_uri", ("", "", "")),
        ("/wado/x", "other", ("", "", "")),
    ],
)  # fmt: skip
def test_routes(path: str, route: str, uids: tuple[str, str, str]) -> None:
    assert route_of("GET", path) == (route, uids)


@pytest.mark.parametrize("path", ["/dicom-web", "/dicom-web/", "/tenants/a/dicom-web"])
def test_capabilities_are_options_of_the_root(path: str) -> None:
    assert route_of("OPTIONS", path) == ("retrieve_capabilities", ("", "", ""))
    assert route_of("GET", path)[0] == "other"
    assert route_of("OPTIONS", "/")[0] == "other"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/studies/1.2", "delete_study"),
        ("/studies/1.2/series/1.3", "delete_series"),
        ("/studies/1.2/series/1.3/instances/1.4/", "delete_instance"),
        ("/studies", "other"),
        ("/studies/1.2/series", "other"),
        ("/studies/1.2/metadata", "other"),
    ],
)
def test_what_is_deleted_is_named(path: str, route: str) -> None:
    assert route_of("DELETE", f"/tenants/north/dicom-web{path}")[0] == route


def test_a_line_becomes_an_access_without_the_query() -> None:
    tenant, access = read_line(entry(7, path="/dicom-web/studies/1.2?PatientName=Doe", accept="x"))
    assert tenant == "default"
    assert access["AccessedAt"] == "2026-11-23T07:46:05.123000Z"
    assert access["DurationMs"] == 12.0
    assert access["StudyInstanceUID"] == "1.2"
    assert "Doe" not in json.dumps(access)


def test_a_line_of_wado_uri_names_the_instance() -> None:
    _, access = read_line(entry(7, path="/wado", instance="1.2/1.3/1.4"))
    assert access["Route"] == "retrieve_wado_uri"
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SopInstanceUID")
    assert [access[name] for name in names] == ["1.2", "1.3", "1.4"]
    _, access = read_line(entry(7, path="/wado", instance="1..2/1.3/x"))
    assert access["StudyInstanceUID"] == ""


def test_a_header_that_is_no_unicode_is_logged_as_far_as_it_is() -> None:
    line = entry(7, user_agent="curl").replace(b"curl", b"c\xffrl")
    assert read_line(line)[1]["UserAgent"] == "c\ufffdrl"


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"[]", b"\xff\xfe", b'{"path": 1}', entry(1)[:-20], b"[" * 100_000,
        entry(1, tenant=""), entry(1, tenant="\ud800"), entry(1, request_id="x" * 65),
        entry(1, request_id=7), entry(1, request_time="1e999"), entry(1, time="yesterday"),
        entry(1, user_agent="curl" * 100_000), entry(1, request_time="nan"),
        entry(1, request_time=-1), entry(1, status=2**31), entry(1, bytes_sent=-1),
    ],
    ids=range(18),
)  # fmt: skip
def test_a_torn_line_is_told_without_quoting_it(line: bytes) -> None:
    with pytest.raises(Unprocessable) as told:
        read_line(line)
    assert "curl" not in str(told.value)


def numbers(events: Sequence[AccessesLogged]) -> list[list[int]]:
    return [[int(one["RequestID"], 16) for one in event.accesses] for event in events]


def test_the_lines_of_a_look_are_one_event() -> None:
    [event] = events_of([entry(1), entry(2)])
    assert numbers([event]) == [[1, 2]]
    assert (event.tenant_id, event.partition_key) == ("default", "default/")
    assert AccessesLogged.from_data(event.data()) == event


def test_tenants_never_share_an_event() -> None:
    names = ("north", "south", "default")
    events = events_of(entry(number, tenant=names[number % 3]) for number in range(1600))
    assert {event.tenant_id for event in events} == set(names)
    for event in events:
        [told] = numbers([event])
        assert {names[number % 3] for number in told} == {event.tenant_id}
    for name in names:
        mine = numbers([event for event in events if event.tenant_id == name])
        flat = [number for some in mine for number in some]
        assert flat == [number for number in range(1600) if names[number % 3] == name]


def test_an_event_is_bounded() -> None:
    events = events_of(entry(number) for number in range(MAX_ACCESSES * 2 + 1))
    assert [len(event.accesses) for event in events] == [MAX_ACCESSES, MAX_ACCESSES, 1]
    long = [entry(number, user_agent="x" * 8000) for number in range(100)]
    events = events_of(long)
    assert list(chain.from_iterable(numbers(events))) == list(range(100))
    most = MAX_BYTES // len(long[0])
    assert [len(event.accesses) for event in events][:-1] == [most] * (len(events) - 1)
    assert all(len(to_record(event, SOURCE).value) < 2 * MAX_BYTES for event in events)


def test_the_same_accesses_have_the_same_id_and_others_another() -> None:
    lines = [entry(1), entry(2)]
    [event] = events_of(lines)
    assert [one.id for one in events_of(lines)] == [event.id]
    others = [[entry(1)], lines[::-1], [entry(1), entry(3)],
              [entry(number, tenant="north") for number in (1, 2)]]  # fmt: skip
    assert len({event.id, *(events_of(one)[0].id for one in others)}) == 5


def test_a_poisoned_line_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    [event] = events_of([entry(1), b'{"agent": "CANARY', entry(2)])
    assert numbers([event]) == [[1, 2]]
    assert [record.message for record in caplog.records] == ["a line was left out"]
    assert "CANARY" not in caplog.text


class Broker:
    """Takes events, or refuses them."""

    def __init__(self) -> None:
        self.taken: list[AccessesLogged] = []
        self.down = False
        self.asked = 0

    def publish(self, events: Sequence[AccessesLogged]) -> None:
        self.asked += 1
        if self.down:
            raise Unavailable("broker", "down")
        self.taken += events

    @property
    def numbers(self) -> list[int]:
        return list(chain.from_iterable(numbers(self.taken)))


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def followed(path: Path, rotate_at: int = 1 << 30) -> FollowedLog:
    return FollowedLog(path, path.with_name("position"), path.with_name("nginx.pid"), rotate_at)


def shipping(log: FollowedLog, broker: Broker, until: Callable[[], bool]) -> None:
    stop = threading.Event()
    worker = threading.Thread(target=ship, args=(log, broker.publish, stop, 0.01))
    worker.start()
    try:
        eventually(until, within=20)
    finally:
        stop.set()
        worker.join()


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_restart_goes_on_where_it_stopped(path: Path, broker: Broker) -> None:
    append(path, entry(1) + entry(2))
    shipping(followed(path), broker, lambda: len(broker.numbers) == 2)
    append(path, entry(3))
    shipping(followed(path), broker, lambda: len(broker.numbers) == 3)
    assert broker.numbers == [1, 2, 3]


def test_a_line_is_sent_when_it_is_whole(path: Path, broker: Broker) -> None:
    append(path, entry(1) + entry(2)[:40])
    log = followed(path)
    shipping(log, broker, lambda: len(broker.numbers) == 1)
    append(path, entry(2)[40:])
    shipping(log, broker, lambda: len(broker.numbers) == 2)
    assert broker.numbers == [1, 2]


def test_a_chunk_that_was_not_noted_is_sent_again(path: Path, broker: Broker) -> None:
    """As after a crash between the acknowledgement and the note of it."""
    append(path, entry(1) + entry(2))
    log = followed(path)
    chunk = log.read()
    assert chunk is not None
    broker.publish(events_of(chunk.lines))
    append(path, entry(3))
    shipping(followed(path), broker, lambda: len(broker.numbers) == 5)
    assert numbers(broker.taken) == [[1, 2], [1, 2, 3]]


def test_a_look_ends_at_the_last_line(path: Path) -> None:
    """What comes meanwhile waits for the next look; what was there does not."""
    append(path, b"".join(entry(number) for number in range(10_000)))
    log = followed(path)
    chunks = []
    while (chunk := log.read()) is not None:
        chunks.append(chunk)
        log.done(chunk)
    assert len(chunks) > 1
    assert [one.last for one in chunks] == [False] * (len(chunks) - 1) + [True]
    assert sum(len(one.lines) for one in chunks) == 10_000


def test_a_log_that_never_rests_is_rotated(path: Path, broker: Broker) -> None:
    """There is a new line at every look."""
    log = followed(path, rotate_at=2000)
    stop = threading.Event()

    def publish(events: Sequence[AccessesLogged]) -> None:
        broker.publish(events)
        append(path, entry(len(broker.numbers) + 1))
        if path.with_name("access.log.1").exists():
            stop.set()
        assert len(broker.numbers) < 100, "it grows for ever"

    append(path, entry(1))
    ship(log, publish, stop, 0.0)
    assert broker.numbers == list(range(1, len(broker.numbers) + 1))


def test_a_line_that_is_none_does_not_stop_the_others(path: Path, broker: Broker) -> None:
    append(path, entry(1) + b'{"broken\n' + entry(2))
    shipping(followed(path), broker, lambda: len(broker.numbers) == 2)


def test_while_the_broker_is_down_nothing_is_lost(path: Path, broker: Broker) -> None:
    broker.down = True
    append(path, entry(1))
    log = followed(path)
    shipping(log, broker, lambda: broker.asked >= 3)
    append(path, entry(2))
    broker.down = False
    shipping(log, broker, lambda: len(broker.numbers) == 2)
    assert broker.numbers == [1, 2]


def test_more_lines_than_one_read_takes(path: Path, broker: Broker) -> None:
    append(path, b"".join(entry(number) for number in range(5000)))
    shipping(followed(path), broker, lambda: len(broker.numbers) >= 5000)
    assert broker.numbers == list(range(5000))


def test_a_rotated_file_is_read_to_its_end(path: Path, broker: Broker) -> None:
    """Workers go on writing to the renamed file until they have reopened the log."""
    append(path, entry(1))
    log = followed(path, rotate_at=10)
    with path.open("ab", buffering=0) as worker:
        shipping(log, broker, lambda: path.with_name("access.log.1").exists())
        worker.write(entry(2))
        append(path, entry(3))
        shipping(followed(path, rotate_at=1 << 30), broker, lambda: len(broker.numbers) == 3)
    assert broker.numbers == [1, 2, 3]


def test_only_nginx_is_signalled(path: Path, broker: Broker) -> None:
    """A stale pid file may name any process: this one."""
    path.with_name("nginx.pid").write_text(str(os.getpid()))
    append(path, entry(1))
    shipping(followed(path, 10), broker, lambda: path.with_name("access.log.1").exists())
    assert broker.numbers == [1]


def test_an_unreadable_position_repeats_the_same_ids(path: Path, broker: Broker) -> None:
    append(path, entry(1))
    shipping(followed(path), broker, lambda: len(broker.numbers) == 1)
    path.with_name("position").write_text("{")
    shipping(followed(path), broker, lambda: len(broker.numbers) == 2)
    assert broker.taken[0].id == broker.taken[1].id

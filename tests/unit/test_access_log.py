"""From nginx's lines to events: none lost, none invented, whatever happens in between."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pacsless.access_log import FollowedLog, read_line, ship
from pacsless.access_routes import route_of
from pacsless.errors import Unavailable, Unprocessable
from pacsless.events import AccessLogged
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


def test_a_line_becomes_an_event_without_the_query() -> None:
    event = read_line(entry(7, path="/dicom-web/studies/1.2?PatientName=Doe", accept="x"))
    assert event.accessed_at == "2026-11-23T07:46:05.123000Z"
    assert event.duration_ms == 12.0
    assert event.study_instance_uid == "1.2"
    assert "Doe" not in json.dumps(event.data())
    assert AccessLogged.from_data(event.data()) == event
    assert event.id == read_line(entry(7)).id != read_line(entry(8)).id


def test_a_line_of_wado_uri_names_the_instance() -> None:
    event = read_line(entry(7, path="/wado", instance="1.2/1.3/1.4"))
    assert event.route == "retrieve_wado_uri"
    assert (event.study_instance_uid, event.series_instance_uid, event.sop_instance_uid) == (
        "1.2", "1.3", "1.4",
    )  # fmt: skip
    assert read_line(entry(7, path="/wado", instance="1..2/1.3/x")).study_instance_uid == ""


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"\xff\xfe", b'{"path": 1}', entry(1)[:-20]])
def test_a_torn_line_is_told_without_quoting_it(line: bytes) -> None:
    with pytest.raises(Unprocessable) as told:
        read_line(line)
    assert "curl" not in str(told.value)


class Broker:
    """Takes events, or refuses them."""

    def __init__(self) -> None:
        self.taken: list[AccessLogged] = []
        self.down = False
        self.asked = 0

    def publish(self, events: Sequence[AccessLogged]) -> None:
        self.asked += 1
        if self.down:
            raise Unavailable("broker", "down")
        self.taken += events

    @property
    def numbers(self) -> list[int]:
        return [int(one.request_id, 16) for one in self.taken]


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
    shipping(followed(path), broker, lambda: len(broker.taken) == 2)
    append(path, entry(3))
    shipping(followed(path), broker, lambda: len(broker.taken) == 3)
    assert broker.numbers == [1, 2, 3]


def test_a_line_is_sent_when_it_is_whole(path: Path, broker: Broker) -> None:
    append(path, entry(1) + entry(2)[:40])
    log = followed(path)
    shipping(log, broker, lambda: len(broker.taken) == 1)
    append(path, entry(2)[40:])
    shipping(log, broker, lambda: len(broker.taken) == 2)
    assert broker.numbers == [1, 2]


def test_a_line_that_is_none_does_not_stop_the_others(path: Path, broker: Broker) -> None:
    append(path, entry(1) + b'{"broken\n' + entry(2))
    shipping(followed(path), broker, lambda: len(broker.taken) == 2)


def test_while_the_broker_is_down_nothing_is_lost(path: Path, broker: Broker) -> None:
    broker.down = True
    append(path, entry(1))
    log = followed(path)
    shipping(log, broker, lambda: broker.asked >= 3)
    append(path, entry(2))
    broker.down = False
    shipping(log, broker, lambda: len(broker.taken) == 2)
    assert broker.numbers == [1, 2]


def test_more_lines_than_one_read_takes(path: Path, broker: Broker) -> None:
    append(path, b"".join(entry(number) for number in range(5000)))
    shipping(followed(path), broker, lambda: len(broker.taken) >= 5000)
    assert broker.numbers == list(range(5000))


def test_a_rotated_file_is_read_to_its_end(path: Path, broker: Broker) -> None:
    """Workers go on writing to the renamed file until they have reopened the log."""
    append(path, entry(1))
    log = followed(path, rotate_at=10)
    with path.open("ab", buffering=0) as worker:
        shipping(log, broker, lambda: path.with_name("access.log.1").exists())
        worker.write(entry(2))
        append(path, entry(3))
        shipping(followed(path, rotate_at=1 << 30), broker, lambda: len(broker.taken) == 3)
    assert broker.numbers == [1, 2, 3]


def test_only_nginx_is_signalled(path: Path, broker: Broker) -> None:
    """A stale pid file may name any process: this one."""
    path.with_name("nginx.pid").write_text(str(os.getpid()))
    append(path, entry(1))
    shipping(followed(path, 10), broker, lambda: path.with_name("access.log.1").exists())
    assert broker.numbers == [1]


def test_an_unreadable_position_repeats_the_same_ids(path: Path, broker: Broker) -> None:
    append(path, entry(1))
    shipping(followed(path), broker, lambda: len(broker.taken) == 1)
    path.with_name("position").write_text("{")
    shipping(followed(path), broker, lambda: len(broker.taken) == 2)
    assert broker.taken[0].id == broker.taken[1].id

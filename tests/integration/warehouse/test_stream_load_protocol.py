"""The strictness of the local warehouse: what Doris would refuse or do, it refuses and does."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import urllib3

from pacsless.columns import CONVERSION_FAILURE, IMAGE
from pacsless.errors import Unavailable
from pacsless.stream_load import DataQuality, Loaded, OutcomeUnknown, StreamLoad
from pacsless.warehouse import Fault, Warehouse
from pacsless.warehouse.labels import Labels, Transaction
from pacsless.warehouse.schema import SchemaConflict
from pacsless.warehouse.store import Store
from tests.eventually import eventually

PASSWORD = "s3cret:@/"
FAILURES = "/api/pacsless/conversion_failure/_stream_load"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with Warehouse(
        tmp_path_factory.mktemp("warehouse"),
        fe_port=0,
        be_port=0,
        mysql_port=0,
        user="loader",
        password=PASSWORD,
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(warehouse: Warehouse) -> None:
    with warehouse.store.cursor() as cursor:
        for name in warehouse.store.tables:
            cursor.execute(f"DELETE FROM pacsless.{name}")


@pytest.fixture
def client(warehouse: Warehouse) -> StreamLoad:
    return client_of(warehouse)


def client_of(warehouse: Warehouse, patience: float = 20) -> StreamLoad:
    return StreamLoad(
        f"http://127.0.0.1:{warehouse.fe_port}",
        "pacsless",
        "loader",
        PASSWORD,
        [f"127.0.0.1:{warehouse.be_port}"],
        patience=patience,
    )


def failure(sop: str = "1.2.3", seq: int = 1, **values: Any) -> dict[str, Any]:
    return {
        "tenant_id": "default",
        "study_instance_uid": "1.2",
        "series_instance_uid": "1.2.1",
        "sop_instance_uid": sop,
        "target_transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "event_seq": seq,
        **values,
    }


def image(sop: str, created: str = "2026-11-23", **values: Any) -> dict[str, Any]:
    return {
        "created_date": created,
        "tenant_id": "default",
        "study_instance_uid": "1.2",
        "series_instance_uid": "1.2.1",
        "sop_instance_uid": sop,
        "event_seq": 1,
        "received_at": "2026-11-23 08:00:00.000001",
        "is_deleted": False,
        **values,
    }


def select(warehouse: Warehouse, sql: str) -> list[tuple[Any, ...]]:
    with warehouse.store.cursor() as cursor:
        return list(cursor.execute(sql).fetchall())


def put(
    port: int, path: str, body: bytes, **headers: str
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """One hop, as it is."""
    given = {"Expect": "100-continue", "format": "json", "read_json_by_line": "true",
             "strict_mode": "true"}  # fmt: skip
    given["Authorization"] = "Basic " + b64encode(f"loader:{PASSWORD}".encode()).decode()
    given |= headers
    sent = {name: value for name, value in given.items() if value}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("PUT", path, body, sent)
        reply = connection.getresponse()
        data = reply.read()
        return reply.status, dict(reply.headers), json.loads(data) if data else {}
    finally:
        connection.close()


def ndjson(*rows: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


# The front end.


def test_the_front_end_redirects_with_the_password_in_the_address(warehouse: Warehouse) -> None:
    status, headers, _ = put(warehouse.fe_port, FAILURES, b"")
    assert status == 307
    where = urllib3.util.parse_url(headers["Location"])
    assert (where.host, where.port, where.path) == ("127.0.0.1", warehouse.be_port, FAILURES)
    assert where.auth == "loader:s3cret%3A%40%2F"


@pytest.mark.parametrize(
    ("host", "redirected"),
    [
        ("warehouse.imaging.svc.cluster.local:8030", "warehouse.imaging.svc.cluster.local"),
        ("warehouse", "warehouse"),
        ("[::1]:8030", "[::1]"),
        ("what is/no@host", "127.0.0.1"),
    ],
)
def test_the_front_end_redirects_to_the_name_it_was_called_by(
    warehouse: Warehouse, host: str, redirected: str
) -> None:
    _, headers, _ = put(warehouse.fe_port, FAILURES, b"", Host=host)
    where = headers["Location"].rpartition("@")[2]
    assert where == f"{redirected}:{warehouse.be_port}{FAILURES}?"


def test_without_expect_the_front_end_fails_with_http_200(warehouse: Warehouse) -> None:
    status, _, body = put(warehouse.fe_port, FAILURES, b"", Expect="")
    assert status == 200
    assert body == {"status": "FAILED", "msg": "There is no 100-continue header"}


def test_a_wrong_password_is_code_401_in_the_body(warehouse: Warehouse) -> None:
    status, _, body = put(warehouse.fe_port, FAILURES, b"", Authorization="")
    assert (status, body["code"]) == (200, 401)
    wrong = StreamLoad(
        f"http://127.0.0.1:{warehouse.fe_port}", "pacsless", "loader", "wrong", ["127.0.0.1:1"]
    )
    with pytest.raises(Unavailable) as caught:
        wrong.load("conversion_failure", [failure()], "wrong-password")
    assert caught.value.code == "warehouse-credentials"


def test_health_and_readiness(warehouse: Warehouse, client: StreamLoad) -> None:
    client.check()
    for port in (warehouse.fe_port, warehouse.be_port):
        assert urllib3.request("GET", f"http://127.0.0.1:{port}/api/health").status == 200


def test_the_state_of_a_label(warehouse: Warehouse, client: StreamLoad) -> None:
    assert client._state("never-heard-of") == "UNKNOWN"
    client.load("conversion_failure", [failure()], "state-1")
    assert client._state("state-1") == "VISIBLE"
    with pytest.raises(DataQuality):
        client.load("conversion_failure", [failure(error_code=7)], "state-2")
    assert client._state("state-2") == "ABORTED"


# The back end: every answer is HTTP 200.


@pytest.mark.parametrize(
    ("path", "headers", "says"),
    [
        (FAILURES, {"label": "a b"}, "label"),
        (FAILURES, {"label": "l", "group_commit": "async_mode"}, "label and group_commit"),
        (FAILURES, {"group_commit": "sync_mode"}, "not in this subset"),
        (FAILURES, {"format": "csv"}, "format=json"),
        (FAILURES, {"read_json_by_line": ""}, "read_json_by_line"),
        (FAILURES, {"columns": "a,b"}, "columns is not in this subset"),
        (FAILURES, {"merge_type": "DELETE"}, "not in this subset"),
        (FAILURES, {"partial_columns": "true"}, "not in this subset"),
        (FAILURES, {"two_phase_commit": "true"}, "not in this subset"),
        (FAILURES, {"compress_type": "gz"}, "not in this subset"),
        (FAILURES, {"max_filter_ratio": "2"}, "max_filter_ratio"),
        (FAILURES, {"timezone": "Mars/Olympus"}, "timezone"),
        ("/api/nothere/conversion_failure/_stream_load", {}, "unknown database"),
        ("/api/pacsless/nothere/_stream_load", {}, "unknown table"),
        (FAILURES, {"Authorization": "Basic eDp5"}, "Access denied"),
    ],
)
def test_the_back_end_refuses(
    warehouse: Warehouse, path: str, headers: dict[str, str], says: str
) -> None:
    status, _, body = put(warehouse.be_port, path, ndjson(failure()), **headers)
    assert (status, body["Status"]) == (200, "Fail")
    assert says in body["Message"]
    assert body["NumberLoadedRows"] == 0
    assert select(warehouse, "SELECT count(*) FROM pacsless.conversion_failure") == [(0,)]


def test_chunked_bodies_are_refused(warehouse: Warehouse) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", warehouse.be_port, timeout=30)
    # The headers alone: a body might still be on its way when the answer comes.
    connection.putrequest("PUT", FAILURES)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.putheader("label", "chunked")
    connection.endheaders()
    body = json.loads(connection.getresponse().read())
    connection.close()
    assert body["Status"] == "Fail"


def test_a_repeated_label_is_not_loaded_again(warehouse: Warehouse, client: StreamLoad) -> None:
    assert client.load("conversion_failure", [failure("1")], "once") == Loaded("once", 1)
    assert client.load("conversion_failure", [failure("2")], "once") == Loaded("once", 1, True)
    assert select(warehouse, "SELECT sop_instance_uid FROM pacsless.conversion_failure") == [("1",)]


def test_an_aborted_label_may_be_used_again(warehouse: Warehouse, client: StreamLoad) -> None:
    with pytest.raises(DataQuality):
        client.load("conversion_failure", [failure(event_seq=None)], "again")
    assert client.load("conversion_failure", [failure()], "again") == Loaded("again", 1)


def test_a_label_in_flight_is_running_and_polled(warehouse: Warehouse, client: StreamLoad) -> None:
    body = ndjson(failure())
    with socket.create_connection(("127.0.0.1", warehouse.be_port), timeout=30) as slow:
        secret = b64encode(f"loader:{PASSWORD}".encode()).decode()
        slow.sendall(
            f"PUT {FAILURES} HTTP/1.1\r\nHost: be\r\nlabel: slow\r\nformat: json\r\n"
            f"read_json_by_line: true\r\nAuthorization: Basic {secret}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
        )
        eventually(lambda: client._state("slow") == "PREPARE")
        _, _, answer = put(warehouse.be_port, FAILURES, body, label="slow")
        assert answer["Status"] == "Label Already Exists"
        assert answer["ExistingJobStatus"] == "RUNNING"
        with pytest.raises(OutcomeUnknown):
            client_of(warehouse, patience=0.2).load("conversion_failure", [failure()], "slow")
        second: list[Loaded] = []
        waiting = threading.Thread(
            target=lambda: second.append(client.load("conversion_failure", [failure()], "slow"))
        )
        waiting.start()
        slow.sendall(body)
        waiting.join(60)
    assert second == [Loaded("slow", 1, before=True)]


def test_a_client_that_hangs_up_frees_its_label(warehouse: Warehouse, client: StreamLoad) -> None:
    with socket.create_connection(("127.0.0.1", warehouse.be_port), timeout=30) as broken:
        secret = b64encode(f"loader:{PASSWORD}".encode()).decode()
        broken.sendall(
            f"PUT {FAILURES} HTTP/1.1\r\nHost: be\r\nlabel: broken\r\nformat: json\r\n"
            f"read_json_by_line: true\r\nAuthorization: Basic {secret}\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        eventually(lambda: client._state("broken") == "PREPARE")
    eventually(lambda: client._state("broken") == "ABORTED")
    assert client.load("conversion_failure", [failure()], "broken") == Loaded("broken", 1)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("error_code", "x" * 65),
        ("error_code", "é" * 33),  # 33 characters, 66 bytes
        ("error_code", 5),
        ("sop_instance_uid", None),
        ("event_seq", "abc"),
        ("event_seq", 1.5),
        ("event_seq", True),
        ("event_seq", 2**63),
        ("duration_ms", "fast"),
        ("failed_at", "2026-13-01 00:00:00"),
        ("failed_at", "yesterday"),
        ("eror_code", "a name that is no column"),
    ],
)
def test_rows_doris_refuses(
    warehouse: Warehouse, client: StreamLoad, column: str, value: Any
) -> None:
    with pytest.raises(DataQuality) as caught:
        client.load(
            "conversion_failure", [failure("1"), failure("2", **{column: value})], "refused"
        )
    error = caught.value
    assert (error.total, error.filtered) == (2, 1)
    assert select(warehouse, "SELECT count(*) FROM pacsless.conversion_failure") == [(0,)]
    reasons = urllib3.request("GET", error.error_url).data.decode()
    assert "line 2" in reasons
    assert str(value) not in reasons or value is None
    assert f"127.0.0.1:{warehouse.be_port}" in error.error_url


def test_missing_not_null_columns_are_refused(client: StreamLoad) -> None:
    row = image("1")
    del row["is_deleted"]
    with pytest.raises(DataQuality):
        client.load("dicom_image_meta", [row], "missing")


@pytest.mark.parametrize("line", [b"{", b"[]", b"7", b'{"a":', b"\xff"])
def test_lines_that_are_no_rows(warehouse: Warehouse, line: bytes) -> None:
    body = ndjson(failure()) + b"\n" + line
    _, _, answer = put(warehouse.be_port, FAILURES, body, label="lines")
    assert answer["Status"] == "Fail"
    assert (answer["NumberTotalRows"], answer["NumberFilteredRows"]) == (2, 1)


def test_without_strict_mode_values_silently_become_null_as_in_doris(warehouse: Warehouse) -> None:
    body = ndjson(failure(duration_ms="fast"))
    _, _, answer = put(warehouse.be_port, FAILURES, body, strict_mode="")
    assert answer["Status"] == "Success"
    assert select(warehouse, "SELECT duration_ms FROM pacsless.conversion_failure") == [(None,)]


def test_max_filter_ratio_lets_the_others_through(warehouse: Warehouse) -> None:
    body = ndjson(failure("1"), failure("2", error_code="x" * 65))
    _, _, answer = put(warehouse.be_port, FAILURES, body, max_filter_ratio="0.5")
    assert answer["Status"] == "Success"
    assert (answer["NumberLoadedRows"], answer["NumberFilteredRows"]) == (1, 1)


def test_values_arrive_as_they_were(warehouse: Warehouse, client: StreamLoad) -> None:
    document = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "王^小東 \\ \"'\n"}]}}
    row = image("1", dicom_json=document, rows=512, slice_thickness=0.625, image_type="A\\B")
    client.load("dicom_image_meta", [row, image("2")], "values")
    [(text, rows, thickness, kind, received)] = select(
        warehouse,
        "SELECT dicom_json, rows, slice_thickness, image_type, received_at::VARCHAR "
        "FROM pacsless.dicom_image_meta WHERE sop_instance_uid = '1'",
    )
    assert json.loads(text) == document
    assert (rows, thickness, kind) == (512, 0.625, "A\\B")
    assert received == "2026-11-23 08:00:00.000001"


def test_a_json_value_above_one_mebibyte_is_refused(client: StreamLoad) -> None:
    with pytest.raises(DataQuality):
        client.load("dicom_image_meta", [image("1", dicom_json={"a": "x" * 2**20})], "large")


# Keys and sequence.


def test_the_larger_sequence_value_wins_whatever_the_order(
    warehouse: Warehouse, client: StreamLoad
) -> None:
    def load(label: str, *rows: dict[str, Any]) -> None:
        client.load("conversion_failure", rows, label)

    def now() -> list[tuple[Any, ...]]:
        return select(warehouse, "SELECT event_seq, stage FROM pacsless.conversion_failure")

    load("seq-1", failure(seq=5, stage="five"))
    load("seq-2", failure(seq=4, stage="four"))
    assert now() == [(5, "five")], "a late event loses"
    load("seq-3", failure(seq=5, stage="five again"))
    assert now() == [(5, "five again")], "an equal one replaces, as in Doris"
    load("seq-4", failure(seq=9, stage="nine"), failure(seq=7), failure(seq=8))
    assert now() == [(9, "nine")], "also within a batch"
    load("seq-5", failure(seq=10, stage="ten"), failure(seq=10, stage="last"))
    assert now() == [(10, "last")]


def test_a_row_is_written_whole(warehouse: Warehouse, client: StreamLoad) -> None:
    client.load("conversion_failure", [failure(seq=1, error_code="x")], "whole-1")
    client.load("conversion_failure", [failure(seq=2)], "whole-2")
    assert select(warehouse, "SELECT error_code FROM pacsless.conversion_failure") == [(None,)]


def test_tenants_and_studies_do_not_meet(warehouse: Warehouse, client: StreamLoad) -> None:
    rows = [failure(), failure(tenant_id="other"), failure(study_instance_uid="9")]
    client.load("conversion_failure", rows, "tenants")
    assert select(warehouse, "SELECT count(*) FROM pacsless.conversion_failure") == [(3,)]


def test_keys_are_unique_within_a_partition_only(warehouse: Warehouse, client: StreamLoad) -> None:
    client.load("dicom_image_meta", [image("1", "2026-11-23"), image("1", "2026-12-23")], "two")
    assert select(warehouse, "SELECT count(*) FROM pacsless.dicom_image_meta") == [(2,)]


def test_replays_after_the_labels_are_forgotten_change_nothing(
    warehouse: Warehouse, client: StreamLoad
) -> None:
    rows = [image(str(number)) for number in range(50)]
    for again in range(3):
        client.load("dicom_image_meta", rows, f"replay-{again}")
    assert select(
        warehouse,
        "SELECT count(*), count(DISTINCT sop_instance_uid) FROM pacsless.dicom_image_meta",
    ) == [(50, 50)]


# Failures on demand.


@pytest.mark.parametrize(
    ("fault", "before"), [(Fault.PUBLISH_TIMEOUT, False), (Fault.LOST_REPLY, True)]
)
def test_what_is_committed_is_a_success(
    warehouse: Warehouse, client: StreamLoad, fault: Fault, before: bool
) -> None:
    warehouse.faults.add(fault)
    label = f"fault-{fault.name}"
    assert client.load("conversion_failure", [failure()], label) == Loaded(label, 1, before)
    assert select(warehouse, "SELECT count(*) FROM pacsless.conversion_failure") == [(1,)]


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Fault.TOO_MANY_VERSIONS, "too-many-versions"), (Fault.LOST_REQUEST, "load-aborted")],
)
def test_what_is_not_committed_is_repeated_with_the_same_label(
    warehouse: Warehouse, client: StreamLoad, fault: Fault, code: str
) -> None:
    warehouse.faults.add(fault)
    label = f"fault-{fault.name}"
    with pytest.raises(Unavailable) as caught:
        client.load("conversion_failure", [failure()], label)
    assert caught.value.code == code
    assert client.load("conversion_failure", [failure()], label) == Loaded(label, 1)


# Labels and the file over time.


def test_labels_are_forgotten_after_twelve_hours_or_two_thousand_loads() -> None:
    now = 0.0
    labels = Labels(clock=lambda: now)
    labels.finish(labels.begin("first"), "VISIBLE")
    now = 12 * 3600
    assert labels.state("first") == "VISIBLE"
    now += 1
    assert labels.state("first") == "UNKNOWN"
    labels.finish(labels.begin("first"), "VISIBLE")
    for number in range(1999):
        labels.finish(labels.begin(f"l{number}"), "VISIBLE")
    assert labels.state("first") == "VISIBLE"
    labels.finish(labels.begin("last"), "VISIBLE")
    assert labels.state("first") == "UNKNOWN"


def test_a_slow_load_is_remembered_though_later_ones_finish_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    slow, quick = store.labels.begin("slow"), store.labels.begin("quick")
    for one in (quick, slow):
        store.load(CONVERSION_FAILURE, [], one)
        store.labels.finish(one, "VISIBLE")
    store.close()
    store = Store(tmp_path)
    assert (store.labels.state("slow"), store.labels.state("quick")) == ("VISIBLE", "VISIBLE")
    assert isinstance(store.labels.begin("third"), Transaction)
    store.close()


def test_rows_and_labels_survive_a_restart(tmp_path: Path) -> None:
    ports = {"fe_port": 0, "be_port": 0, "mysql_port": 0}
    options: dict[str, Any] = {"user": "loader", "password": PASSWORD, **ports}
    with Warehouse(tmp_path, **options) as first:
        client_of(first).load("dicom_image_meta", [image("1", dicom_json={"a": 1})], "kept")
    with Warehouse(tmp_path, **options) as second:
        assert client_of(second).load("dicom_image_meta", [image("2")], "kept").before
        assert select(second, "SELECT sop_instance_uid FROM pacsless.dicom_image_meta") == [("1",)]


def test_a_file_of_an_earlier_version_gets_its_missing_columns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.cursor() as cursor:
        cursor.execute("ALTER TABLE pacsless.dicom_image_meta DROP COLUMN is_deleted")
        cursor.execute("ALTER TABLE pacsless.dicom_image_meta DROP COLUMN rows")
    store.close()
    with Warehouse(
        tmp_path, user="loader", password=PASSWORD, fe_port=0, be_port=0, mysql_port=0
    ) as running:
        client_of(running).load("dicom_image_meta", [image("1", rows=7)], "new")
        found = select(running, "SELECT rows, is_deleted FROM pacsless.dicom_image_meta")
    assert found == [(7, False)]


def test_merging_names_every_column_by_name_and_not_by_place(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.cursor() as cursor:
        # An added column comes last in the file, wherever the model has it.
        cursor.execute("ALTER TABLE pacsless.dicom_image_meta DROP COLUMN modality")
    store.close()
    store = Store(tmp_path)
    row = [image("1", modality="CT").get(column.name) for column in IMAGE.columns]
    store.load(IMAGE, [row], store.labels.begin("l"))
    with store.cursor() as cursor:
        assert cursor.execute("SELECT modality FROM pacsless.dicom_image_meta").fetchall() == [
            ("CT",)
        ]
    store.close()


def test_a_file_with_another_type_of_column_is_refused_and_let_go(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.cursor() as cursor:
        cursor.execute("ALTER TABLE pacsless.dicom_image_meta ALTER rows TYPE VARCHAR")
    store.close()
    for _ in range(2):
        with pytest.raises(SchemaConflict, match=r"dicom_image_meta\.rows is VARCHAR"):
            Store(tmp_path)


def test_a_port_in_use_leaves_nothing_open(tmp_path: Path, warehouse: Warehouse) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="in use"):
            Warehouse(tmp_path, fe_port=0, be_port=0, mysql_port=warehouse.mysql_port)
    with Warehouse(tmp_path, fe_port=0, be_port=0, mysql_port=0):
        pass


def test_queries_spill_into_the_folder_and_touch_no_other_file(tmp_path: Path) -> None:
    store = Store(tmp_path, memory_limit="64MB")
    with store.cursor() as cursor:
        cursor.execute("SELECT range, hash(range) AS h FROM range(4000000) ORDER BY h")
        assert cursor.fetchone() is not None
        for sql in ("COPY (SELECT 1) TO 'x.csv'", "ATTACH 'x.db'", "SET threads = 64"):
            with pytest.raises(duckdb.Error):
                cursor.execute(sql)
    store.close()

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import functions_framework
import pytest
from werkzeug.test import Client

from pacsless import resources, worker
from pacsless.bus import Producer
from pacsless.codec import BATCH_CONTENT_TYPE, batch, batch_item, to_record
from pacsless.errors import Busy, Unavailable, Unprocessable
from pacsless.events import Event, InstanceConverted, InstanceStored
from pacsless.handler import handles
from tests.events import EXAMPLES
from tests.ledger import Ledger, Sent

FUNCTION = '''
from collections.abc import Iterable, Sequence

from pacsless.codec import Delivered
from pacsless.events import Event, InstanceStored
from pacsless.handler import handles
from tests.ledger import Ledger


@handles(InstanceStored)
def note(batch: Sequence[Delivered[InstanceStored]], ledger: Ledger) -> Iterable[Event] | None:
    """Note each event."""
    return ledger.note([(one.event, one.id, one.topic, one.partition, one.offset) for one in batch])
'''


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def client(tmp_path: Path, ledger: Ledger, sent: Sent) -> Iterator[Client]:
    source = tmp_path / "main.py"
    source.write_text(FUNCTION)
    with resources.override({Ledger: ledger, Producer: sent}):
        yield functions_framework.create_app("note", str(source)).test_client()  # type: ignore[no-untyped-call]


def stored() -> Event:
    return EXAMPLES[InstanceStored.TYPE]


def item(event: Event, offset: int = 0) -> bytes:
    record = to_record(event, "/test")
    return batch_item(record.headers, record.value, record.topic, 2, offset)


def post(client: Client, *events: Event) -> Any:
    body = batch([item(event, offset) for offset, event in enumerate(events)])
    return client.post("/", data=body, content_type=BATCH_CONTENT_TYPE)


def test_takes_a_batch_and_says_where_each_event_came_from(client: Client, ledger: Ledger) -> None:
    answer = post(client, stored(), stored())
    assert (answer.status_code, answer.data) == (204, b"")
    assert ledger.noted == [
        (stored(), stored().id, "storage_queue", 2, offset) for offset in (0, 1)
    ]


def test_takes_one_event_in_binary_mode(client: Client, ledger: Ledger) -> None:
    record = to_record(stored(), "/test")
    headers = {
        name.replace("ce_", "ce-"): value.decode()
        for name, value in record.headers
        if name != "content-type"
    }
    answer = client.post("/", data=record.value, headers=headers, content_type="application/json")
    assert answer.status_code == 204
    assert [one[0] for one in ledger.noted] == [stored()]


def test_takes_one_event_in_structured_mode(client: Client, ledger: Ledger) -> None:
    answer = client.post("/", data=item(stored()), content_type="application/cloudevents+json")
    assert answer.status_code == 204
    assert [one[0] for one in ledger.noted] == [stored()]


def test_publishes_what_the_handler_returns_before_it_answers(
    client: Client, ledger: Ledger, sent: Sent
) -> None:
    ledger.answer = [EXAMPLES[InstanceConverted.TYPE]]
    assert post(client, stored()).status_code == 204
    assert sent.events == [EXAMPLES[InstanceConverted.TYPE]]
    assert sent.sources == {"/functions/note"}


def test_is_not_done_when_its_events_cannot_be_published(
    client: Client, ledger: Ledger, sent: Sent
) -> None:
    ledger.answer = [EXAMPLES[InstanceConverted.TYPE]]
    sent.error = Unavailable("broker", "cannot publish: KafkaTimeoutError")
    answer = post(client, stored())
    assert (answer.status_code, answer.json) == (503, {"code": "broker"})
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unprocessable("truncated", "the file ends early"), 422, "truncated"),
        (Unavailable("database", "PostgreSQL does not answer"), 503, "database"),
        (Busy("locked", "another worker is at this series"), 409, "locked"),
        (MemoryError(), 422, "memory"),
        (RecursionError(), 422, "recursion"),
        (ValueError("CANARY^NAME"), 500, "unexpected"),
    ],
)
def test_an_error_is_a_status_and_a_code_and_nothing_else(
    client: Client, ledger: Ledger, error: Exception, status: int, code: str
) -> None:
    ledger.error = error
    answer = post(client, stored())
    assert answer.status_code == status
    assert answer.json == {"code": code}
    assert "CANARY" not in str(answer.headers)


def test_an_event_of_another_type_is_unprocessable(client: Client, ledger: Ledger) -> None:
    answer = post(client, stored(), EXAMPLES[InstanceConverted.TYPE])
    assert (answer.status_code, answer.json) == (422, {"code": "unexpected-type"})
    assert ledger.noted == []


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"CANARY", BATCH_CONTENT_TYPE, 400),
        (b"{}", BATCH_CONTENT_TYPE, 400),
        (b"[{}]", BATCH_CONTENT_TYPE, 400),
        (b"[" * 100_000, BATCH_CONTENT_TYPE, 400),
        (b'{"specversion":"1.0"}', "application/cloudevents+json", 400),
    ],
)
def test_what_is_no_event_is_refused_without_an_echo(
    client: Client, body: bytes, content_type: str, status: int
) -> None:
    answer = client.post("/", data=body, content_type=content_type)
    assert answer.status_code == status
    assert set(json.loads(answer.data)) == {"code"}
    assert b"CANARY" not in answer.data


def test_a_body_that_is_too_large_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacsless.handler.MAX_BODY_BYTES", 100)
    answer = post(client, stored())
    assert (answer.status_code, answer.json) == (413, {"code": "too-large"})


def test_only_posts_are_events(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_health_readiness_and_metrics(client: Client, ledger: Ledger) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    ledger.checked = Unavailable("database", "PostgreSQL does not answer")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json) == (503, {"code": "database"})
    post(client, stored())
    page = client.get("/metrics").text
    assert (
        'pacsless_events_total{function="note",outcome="done",'
        'type="org.pacsless.instance.stored.v1"}' in page
    )
    assert stored().subject not in page


def test_a_parameter_that_names_no_resource_fails_at_import() -> None:
    def wrong(batch: list[Any], archive: int) -> None:
        """Asks for a number."""

    with pytest.raises(TypeError, match="archive names no resource"):
        handles(InstanceStored)(wrong)


def test_a_wrong_setting_is_no_events_fault(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_started", set())
    monkeypatch.setenv("PACSLESS_LOG_LEVEL", "loud")
    for _ in range(2):
        answer = client.post(
            "/",
            data=batch([item(stored())]),
            content_type=BATCH_CONTENT_TYPE,
            environ_base={"SERVER_SOFTWARE": "gunicorn/23.0.0"},
        )
        assert (answer.status_code, answer.json) == (503, {"code": "setting"})
    assert ledger.noted == []

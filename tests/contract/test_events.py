"""Events, their JSON Schemas, the AsyncAPI document and both wire forms say the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloudevents.http import CloudEvent
from cloudevents.kafka import to_binary
from jsonschema import Draft202012Validator, FormatChecker

from pacsless.access_lines import MAX_ACCESSES
from pacsless.codec import BATCH_CONTENT_TYPE, batch, batch_item, decode_http, to_record
from pacsless.errors import BadRequest, PacslessError, Unprocessable
from pacsless.events import EVENTS, TOPICS, Event, data_name, dead_letter_topic
from pacsless.functions import load_functions
from tests.events import EXAMPLES, access

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "schemas" / "events"
EACH = pytest.mark.parametrize("kind", EVENTS)


def schema(kind: str) -> dict[str, Any]:
    text = (SCHEMAS / f"{kind.removeprefix('org.pacsless.')}.json").read_text()
    return json.loads(text)  # type: ignore[no-any-return]


@EACH
def test_the_schema_names_the_fields_of_the_event(kind: str) -> None:
    names = {data_name(field.name) for field in dataclasses.fields(EVENTS[kind])}
    Draft202012Validator.check_schema(schema(kind))
    assert set(schema(kind)["properties"]) == names
    assert set(schema(kind)["required"]) == names - added_later(kind)


def added_later(kind: str) -> set[str]:
    """What events of before lack: a queue may still hold some."""
    fields = dataclasses.fields(EVENTS[kind])
    return {data_name(one.name) for one in fields if one.default is not dataclasses.MISSING}


@EACH
def test_what_is_emitted_obeys_the_schema(kind: str) -> None:
    record = to_record(EXAMPLES[kind], "/tests")
    Draft202012Validator(schema(kind), format_checker=FormatChecker()).validate(
        json.loads(record.value)
    )


@EACH
def test_a_kafka_record_is_a_cloudevent_in_binary_mode(kind: str) -> None:
    event = EXAMPLES[kind]
    record = to_record(event, "/tests", "2026-11-23T08:00:00Z")
    headers = dict(record.headers)
    assert record.topic == event.TOPIC
    assert record.key == event.partition_key.encode()
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == kind.encode()
    assert headers["ce_id"] == event.id.encode()
    assert headers["ce_subject"] == event.subject.encode()
    assert headers["content-type"] == b"application/json"
    # What the SDK makes of the same attributes.
    attributes = {
        "id": event.id, "type": kind, "source": "/tests", "subject": event.subject,
        "time": "2026-11-23T08:00:00Z", "datacontenttype": "application/json",
        "partitionkey": event.partition_key,
    }  # fmt: skip
    theirs = to_binary(CloudEvent(attributes, event.data()), data_marshaller=lambda _: record.value)
    assert dict(theirs.headers) == headers
    assert theirs.key == record.key.decode()
    assert json.loads(record.value) == event.data()


@EACH
def test_events_survive_the_three_http_modes(kind: str) -> None:
    event = EXAMPLES[kind]
    record = to_record(event, "/tests")
    attributes = {
        name.removeprefix("ce_"): value.decode()
        for name, value in record.headers
        if name.startswith("ce_")
    }
    binary = decode_http(
        {f"ce-{name}": value for name, value in attributes.items()}
        | {"content-type": "application/json"},
        record.value,
    )
    structured = decode_http(
        {"content-type": "application/cloudevents+json"},
        json.dumps(attributes | {"data": json.loads(record.value)}).encode(),
    )
    item = batch_item(record.headers, record.value, record.topic, 3, 41)
    batched = decode_http({"content-type": BATCH_CONTENT_TYPE}, batch([item, item]))
    assert [one.event for one in binary + structured + batched] == [event] * 4
    assert (batched[0].topic, batched[0].partition, batched[0].offset) == (record.topic, 3, 41)


@EACH
def test_a_fact_repeats_its_id_and_another_has_another(kind: str) -> None:
    event = EXAMPLES[kind]
    assert event.id == dataclasses.replace(event).id
    for name in event.IDENTITY:
        value = getattr(event, name)
        other: Any = value + 1 if isinstance(value, int) else f"{value}9"
        if isinstance(value, list):
            other = value[:-1]
        assert dataclasses.replace(event, **{name: other}).id != event.id


@EACH
def test_data_that_breaks_the_schema_is_unprocessable(kind: str) -> None:
    data = EXAMPLES[kind].data()
    for name in data:
        lacking = {key: value for key, value in data.items() if key != name}
        if name in added_later(kind):
            EVENTS[kind].from_data(lacking)
        else:
            with pytest.raises(PacslessError):
                EVENTS[kind].from_data(lacking)
        with pytest.raises(PacslessError):
            EVENTS[kind].from_data(data | {name: [1]})
    with pytest.raises(Unprocessable):
        EVENTS[kind].from_data([])


def test_an_access_among_many_says_what_one_alone_says() -> None:
    alone = schema("org.pacsless.access.logged.v1")
    among = schema("org.pacsless.accesses.logged.v1")["properties"]["Accesses"]
    assert set(among["items"]["properties"]) == set(alone["properties"]) - {"TenantID"}
    assert set(among["items"]["required"]) == set(among["items"]["properties"])
    assert among["maxItems"] == MAX_ACCESSES


@pytest.mark.parametrize(
    "changed",
    [[], ["Doe^John"], [{}], [access("f3a2"), access("f3a3") | {"Status": "Doe^John"}],
     [{name: value for name, value in access("f3a2").items() if name != "UserID"}]],
)  # fmt: skip
def test_accesses_that_break_the_schema_are_unprocessable(changed: list[Any]) -> None:
    event = EXAMPLES["org.pacsless.accesses.logged.v1"]
    data = event.data() | {"Accesses": changed}
    assert not Draft202012Validator(schema(event.TYPE)).is_valid(data)
    with pytest.raises(Unprocessable) as caught:
        type(event).from_data(data)
    assert "Doe" not in str(caught.value)


def test_an_identifier_that_leaves_the_archive_is_refused() -> None:
    event = EXAMPLES["org.pacsless.instance.stored.v1"]
    with pytest.raises(PacslessError) as caught:
        type(event).from_data(event.data() | {"StudyInstanceUID": "../../etc"})
    assert "etc" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({"content-type": "application/json"}, b"{}"),
        ({"content-type": "application/cloudevents+json"}, b"{not json"),
        ({"content-type": "application/cloudevents+json"}, b'{"id": "1"}'),
        ({"content-type": BATCH_CONTENT_TYPE}, b'{"id": "1"}'),
        ({"content-type": BATCH_CONTENT_TYPE}, b'["Doe^John"]'),
        ({"content-type": BATCH_CONTENT_TYPE}, b"[" * 100_000),
    ],
)
def test_what_is_no_cloudevent_is_a_bad_request_that_quotes_nothing(
    headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_http(headers, body)
    assert "Doe" not in str(caught.value)


def test_an_unknown_type_or_version_is_unprocessable() -> None:
    record = to_record(EXAMPLES["org.pacsless.instance.stored.v1"], "/tests")
    headers = tuple(
        (name, b"org.pacsless.instance.stored.v99" if name == "ce_type" else value)
        for name, value in record.headers
    )
    with pytest.raises(Unprocessable, match="unknown-type"):
        decode_http(
            {"content-type": BATCH_CONTENT_TYPE},
            batch([batch_item(headers, record.value, "t", 0, 0)]),
        )


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xfe",
        b"{",
        b"NaN oops",
        b'{"n":NaN}',
        b'{"n":1e999}',
        b"[" * 100_000,
        '{"n":1}'.encode("utf-16"),
        '{"n":1}'.encode("utf-32-le"),
        '{"n":1}'.encode("utf-8-sig"),
    ],
)
def test_a_record_that_is_not_json_never_enters_a_batch(value: bytes) -> None:
    record = to_record(EXAMPLES["org.pacsless.instance.stored.v1"], "/tests")
    with pytest.raises(Unprocessable):
        batch_item(record.headers, value, "t", 0, 0)


def test_a_place_in_kafka_that_is_none_is_a_bad_request() -> None:
    record = to_record(EXAMPLES["org.pacsless.instance.stored.v1"], "/tests")
    item = batch_item(record.headers, record.value, "t", 0, 7).replace(b'"7"', b'"x"')
    with pytest.raises(BadRequest):
        decode_http({"content-type": BATCH_CONTENT_TYPE}, batch([item]))


def test_a_record_without_cloudevents_headers_never_enters_a_batch() -> None:
    with pytest.raises(Unprocessable, match="not-a-cloudevent"):
        batch_item([("content-type", b"application/json")], b"{}", "t", 0, 0)


def test_asyncapi_knows_every_topic_event_and_subscriber() -> None:
    document = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text())
    assert set(document["channels"]) == set(TOPICS)
    carried = {
        (topic, document["components"]["messages"][message]["name"])
        for topic, channel in document["channels"].items()
        for message in channel["messages"]
    }
    assert carried == {(event.TOPIC, kind) for kind, event in EVENTS.items()}
    for message in document["components"]["messages"].values():
        assert (SCHEMAS / message["payload"]["schema"]["$ref"]).is_file()
    receivers = {
        (operation["tags"][0]["name"], operation["channel"]["$ref"].removeprefix("#/channels/"))
        for operation in document["operations"].values()
        if operation["action"] == "receive"
    }
    declared = {
        (spec.name.replace("_", "-"), EVENTS[kind].TOPIC)
        for spec in load_functions(ROOT / "functions").values()
        for kind in spec.handles
    }
    assert receivers == declared


def test_dead_letters_have_their_own_topic() -> None:
    assert {dead_letter_topic(topic) for topic in TOPICS}.isdisjoint(TOPICS)


def test_every_event_has_an_example() -> None:
    assert set(EXAMPLES) == set(EVENTS)
    assert all(isinstance(event, Event) for event in EXAMPLES.values())

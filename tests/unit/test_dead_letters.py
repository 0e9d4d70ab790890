"""What a dead letter says, which are meant, and what of it is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pacsless.bus import Message, Partition, Reference, Waiting
from pacsless.codec import to_record
from pacsless.dead_letters import Letter, Selection, Summary, buried
from pacsless.dead_letters.report import contents, printable
from pacsless.dead_letters.selection import parse_letter, parse_time
from pacsless.events import TOPICS, InstanceStored
from tests.events import EXAMPLES

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
STORED = EXAMPLES[InstanceStored.TYPE]
_TIME = "2026-11-28T12:00:00.000000Z"


def letter(
    *,
    topic: str = "storage_queue",
    code: str = "truncated",
    function: str = "extract_tags",
    key: bytes | None = b"default/1.2.3",
    at: datetime = NOW,
    headers: tuple[tuple[str, bytes], ...] = (),
    offset: int = 0,
) -> Letter:
    record = to_record(STORED, "/test")
    source = Message(Partition(topic, 2), 301, 0.0, key, record.value, (*record.headers, *headers))
    told = buried(source, code, 3, function, "2026-11-28T12:00:00Z")
    return Letter(
        Message(Partition(f"{topic}.dlq", 0), offset, at.timestamp(), key, record.value,
                (*source.headers, *told))
    )  # fmt: skip


def test_a_letter_says_what_it_was_made_with() -> None:
    assert letter(offset=17).as_dict() == {
        "letter": "storage_queue.dlq:0:17",
        "topic": "storage_queue",
        "code": "truncated",
        "function": "extract_tags",
        "attempts": 3,
        "time": "2026-11-28T12:00:00Z",
        "tenant": "default",
        "type": STORED.TYPE,
        "subject": STORED.subject,
    }
    shown = letter().shown
    assert (shown["dlq_topic"], shown["dlq_partition"], shown["dlq_offset"]) == (
        "storage_queue", "2", "301",
    )  # fmt: skip


def test_the_event_of_a_letter_is_the_record_as_it_was() -> None:
    event = letter(headers=(("dlq_code", b"of-another-letter"), ("x", b"1"))).event
    record = to_record(STORED, "/test")
    assert (event.key, event.value) == (b"default/1.2.3", record.value)
    assert [name for name, _ in event.headers] == [*(name for name, _ in record.headers), "x"]


def of_a_kafka_source(value: bytes) -> Letter:
    """A dead letter as Knative writes it: no key, no headers of the trigger's."""
    record = to_record(STORED, "/test", _TIME)
    told = (
        ("ce_knativeerrordest", b"http://pacsless-extract-tags.default.svc.cluster.local"),
        ("ce_knativeerrorcode", b"422"),
        ("ce_knativeerrordata", b'{"code": "Doe^Jane"}'),
    )
    return Letter(
        Message(Partition("storage_queue.dlq", 0), 7, 0.0, None, value, (*record.headers, *told))
    )


def test_a_letter_of_a_kafka_source_gets_its_events_key_again() -> None:
    record = to_record(STORED, "/test", _TIME)
    one = of_a_kafka_source(record.value)
    assert (one.event.key, one.event.value) == (record.key, record.value)
    assert one.event.headers == record.headers
    assert (one.tenant, one.code) == (STORED.tenant_id, "http-422")
    assert "Doe" not in str(one.shown)


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"tenant_id": 1}', b"[" * 100_000])
def test_a_letter_of_a_kafka_source_that_holds_no_event_has_no_key(value: bytes) -> None:
    assert of_a_kafka_source(value).event.key is None


def test_what_the_trigger_says_wins_over_what_the_record_said() -> None:
    assert letter(headers=(("dlq_code", b"forged"),)).code == "truncated"


@pytest.mark.parametrize("event", EXAMPLES.values(), ids=lambda event: event.TYPE)
def test_everything_of_our_own_events_is_shown(event: InstanceStored) -> None:
    record = to_record(event, "/functions/extract_tags")
    shown = Letter(Message(Partition("x.dlq", 0), 0, 0.0, None, None, record.headers)).shown
    assert shown == {name: value.decode() for name, value in record.headers}


@pytest.mark.parametrize("name", ["ce_subject", "ce_type", "ce_id", "ce_source", "ce_time",
                                  "content-type", "dlq_code", "dlq_function", "dlq_attempts",
                                  "patient"])  # fmt: skip
@pytest.mark.parametrize(
    "value",
    ["CANARY^NAME", "canary jane", "studies/1.2\nCANARY", "org.pacsless.Canary.v1", "Yamada^太郎"],
)
def test_nothing_else_is_shown(name: str, value: str) -> None:
    message = Message(
        Partition("storage_queue.dlq", 0), 0, 0.0, value.encode(), value.encode(),
        ((name, value.encode()), ("p", b"\xff")),
    )  # fmt: skip
    one = Letter(message)
    assert one.shown == {}
    assert {one.tenant, one.code, one.function, one.as_dict()["subject"]} == {""}


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(), True),
        (Selection(topics=frozenset({"storage_queue", "log_queue"})), True),
        (Selection(topics=frozenset({"log_queue"})), False),
        (Selection(codes=frozenset({"truncated"})), True),
        (Selection(codes=frozenset({"trunc"})), False),
        (Selection(functions=frozenset({"extract_tags"})), True),
        (Selection(functions=frozenset({"load_doris"})), False),
        (Selection(tenants=frozenset({"default"})), True),
        (Selection(tenants=frozenset({"defaul"})), False),
        (Selection(tenants=frozenset({""})), False),
        (Selection(since=NOW), True),
        (Selection(since=NOW + timedelta(seconds=1)), False),
        (Selection(until=NOW), False),
        (Selection(until=NOW + timedelta(seconds=1)), True),
        (Selection(letters=frozenset({Reference(Partition("storage_queue.dlq", 0), 0)})), True),
        (Selection(letters=frozenset({Reference(Partition("storage_queue.dlq", 0), 1)})), False),
        (Selection(codes=frozenset({"truncated"}), tenants=frozenset({"other"})), False),
    ],
)
def test_a_letter_meets_every_condition(selection: Selection, meant: bool) -> None:
    assert (letter() in selection) is meant


@pytest.mark.parametrize("key", [b"default2/1.2.3", b"defaul/1.2.3", b"default", b"/1.2", b"", None,
                                 b"DEFAULT/1.2.3", b"default \n/1.2"])  # fmt: skip
def test_a_tenant_is_nobody_else(key: bytes | None) -> None:
    assert letter(key=key) not in Selection(tenants=frozenset({"default"}))


def test_only_what_may_be_meant_is_read() -> None:
    assert Selection().read_from == set(TOPICS)
    assert Selection(topics=frozenset({"log_queue"})).read_from == {"log_queue"}
    one = frozenset({parse_letter("storage_queue:0:1")})
    assert Selection(letters=one).read_from == {"storage_queue"}
    assert Selection(letters=one, topics=frozenset({"log_queue"})).read_from == set()


def test_letters_are_counted_by_topic_function_and_code() -> None:
    summary = Summary()
    early, late = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    summary.add([letter(at=late), letter(at=early), letter(code="schema")])
    summary.add([letter(), letter(function="load_doris")])
    assert [(one.function, one.code, one.count) for one in summary.groups] == [
        ("extract_tags", "schema", 1),
        ("extract_tags", "truncated", 3),
        ("load_doris", "truncated", 1),
    ]
    assert (summary.groups[1].oldest, summary.groups[1].newest) == (early, late)
    assert summary.count == 5


@pytest.mark.parametrize("text", ["storage_queue:0:17", "storage_queue.dlq:0:17"])
def test_a_place_is_read(text: str) -> None:
    assert str(parse_letter(text)) == "storage_queue.dlq:0:17"


@pytest.mark.parametrize("text", ["", "storage_queue", "storage_queue:0", "storage_queue:0:-1",
                                  "storage_queue:x:1", "no_queue:0:1", "storage_queue:0:1:2",
                                  "storage_queue:0:²"])  # fmt: skip
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_letter(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("2d", NOW - timedelta(days=2)),
        ("2026-11-28", datetime(2026, 11, 28, tzinfo=UTC)),
        ("2026-11-28T08:00", datetime(2026, 11, 28, 8, tzinfo=UTC)),
        ("2026-11-28T08:00:00Z", datetime(2026, 11, 28, 8, tzinfo=UTC)),
        ("2026-11-28T08:00:00+02:00", datetime(2026, 11, 28, 6, tzinfo=UTC)),
    ],
)
def test_a_time_is_read(text: str, time: datetime) -> None:
    assert parse_time(text, NOW) == time


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "-2d", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text, NOW)


def test_which_letters_of_a_partition_wait() -> None:
    some = Waiting.among("id", range(3, 8), [range(6, 7), range(1, 4), range(4, 5), range(3, 5)])
    assert some.settled == (range(3, 5), range(6, 7))
    assert [one for one in range(10) if one in some] == [5, 7]
    assert (len(some), some.first) == (2, 5)
    assert [one for one in range(10) if one in some.before(6)] == [5]
    assert len(some.before(2)) == len(some.before(5)) == 0
    assert Waiting.among("id", range(3, 5), [range(9)]).first == 5
    assert Waiting("id", range(3, 5)).first == 3


def test_data_that_is_no_json_is_shown_as_cloudevents_do() -> None:
    message = Message(Partition("x", 0), 0, 0.0, None, b"\xff\x00", ())
    assert contents(message)["data_base64"] == "/wA="


def test_a_terminal_is_told_nothing() -> None:
    assert printable("a\x1b[2J\x9b太\n") == "a\\x1b[2J\\x9b太\\n"

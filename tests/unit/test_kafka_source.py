"""What the double of KafkaSource's dispatcher knows of Knative's (tests/knative)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from pacsless.codec import decode_http, to_record
from pacsless.events import InstanceStored
from tests.events import EXAMPLES
from tests.knative.rules import (
    Delivery,
    Offsets,
    as_dead_letter,
    as_request,
    seconds,
    share,
    sources_of,
    taken,
    tried_again,
)

STORED = EXAMPLES[InstanceStored.TYPE]
_SINK = {"ref": {"kind": "KafkaSink", "name": "dlq"}}


@dataclass
class Record:
    """A record as kafka-python has it."""

    headers: Sequence[tuple[str, bytes]]
    key: bytes | None = None
    topic: str = "storage_queue"
    partition: int = 2
    offset: int = 301


@pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 502, 503, 504, 599])
def test_an_answer_that_may_be_another_one_later_is_tried_again(status: int) -> None:
    assert tried_again(status)


@pytest.mark.parametrize("status", [301, 302, 304, 400, 401, 403, 405, 413, 415, 422, 425])
def test_any_other_failure_is_final(status: int) -> None:
    assert not tried_again(status)
    assert not taken(status)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_what_is_2xx_is_done(status: int) -> None:
    assert taken(status)


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, Delivery(10, 0.3, exponential=True, timeout=600.0)),
        # With a part of it, there are no retries but those it names.
        (
            {"delivery": {"timeout": "PT30S"}},
            Delivery(0, 0.3, exponential=True, timeout=30.0),
        ),
        (
            {
                "delivery": {
                    "retry": 12,
                    "backoffDelay": "PT1S",
                    "backoffPolicy": "linear",
                    "timeout": "PT600S",
                    "deadLetterSink": _SINK,
                }
            },
            Delivery(12, 1.0, exponential=False, timeout=600.0, dead_letters="dlq"),
        ),
    ],
)
def test_a_delivery_is_what_its_source_says(spec: dict[str, Any], wanted: Delivery) -> None:
    assert Delivery.of(spec) == wanted


def test_pauses_double_or_grow() -> None:
    double = Delivery(12, 1.0, exponential=True, timeout=1.0)
    grow = Delivery(12, 1.0, exponential=False, timeout=1.0)
    assert [double.pause(one) for one in (1, 2, 3, 12)] == [2, 4, 8, 4096]
    assert [grow.pause(one) for one in (1, 2, 3)] == [1, 2, 3]
    # What docs/install.md calls two hours.
    assert 2 * 3600 < sum(double.pause(one) for one in range(1, 13)) < 2.5 * 3600


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("PT1S", 1), ("PT0.2S", 0.2), ("PT2M", 120), ("PT1H30M", 5400), ("PT600S", 600)],
)
def test_durations(text: str, wanted: float) -> None:
    assert seconds(text) == pytest.approx(wanted)


@pytest.mark.parametrize("text", ["", "PT", "1s", "P1D", "PT-1S"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        seconds(text)


def test_offsets_are_committed_up_to_the_first_gap() -> None:
    offsets = Offsets(5)
    assert offsets.position == 5
    for one in (5, 6, 7, 9):  # 8 was a transaction's
        offsets.read(one)
    offsets.done(6)
    offsets.done(7)
    assert (offsets.position, len(offsets)) == (5, 2)
    offsets.done(5)
    assert offsets.position == 9
    offsets.done(9)
    offsets.done(9)
    assert (offsets.position, len(offsets)) == (10, 0)


def test_an_event_is_sent_as_it_is_and_a_function_reads_it() -> None:
    record = to_record(STORED, "/scp-gateway")
    request = as_request(Record(record.headers, record.key), "/apis/…")
    assert "default" not in request.values()
    (one,) = decode_http(request, record.value)
    assert (one.event, one.id) == (STORED, STORED.id)


def test_a_record_that_is_no_event_becomes_one_of_knatives() -> None:
    headers = (("X-Patient", b"1"), ("ce_id", b"only this"))
    source = "/apis/v1/namespaces/default/kafkasources/pacsless-extract-tags-storage-queue"
    assert as_request(Record(headers, b"a"), source) == {
        "ce-specversion": "1.0",
        "ce-type": "dev.knative.kafka.event",
        "ce-id": "partition:2/offset:301",
        "ce-source": f"{source}#storage_queue",
        "ce-subject": "partition:2#301",
        "ce-key": "a",
        "ce-partitionkey": "a",
        "ce-kafkaheaderxpatient": "1",
        "ce-kafkaheaderceid": "only this",
    }


def test_a_dead_letter_says_why_and_has_no_key() -> None:
    record = to_record(STORED, "/scp-gateway")
    request = as_request(Record(record.headers, record.key), "/apis/…")
    key, headers = as_dead_letter(request, "http://a.b.svc", 422, b'{"code": "schema"}' * 100)
    assert key is None
    found = dict(headers)
    assert set(found) == {
        *dict(record.headers), "ce_knativeerrordest", "ce_knativeerrorcode", "ce_knativeerrordata"
    }  # fmt: skip
    assert found["ce_knativeerrorcode"] == b"422"
    assert len(found["ce_knativeerrordata"]) == 1024
    _, unanswered = as_dead_letter(request, "http://a.b.svc", 0, b"")
    assert set(dict(unanswered)) == {*dict(record.headers), "ce_knativeerrordest"}


def test_a_share_is_always_the_same() -> None:
    chosen = share(range(10_000), 0.3)
    assert chosen == share(range(10_000), 0.3)
    assert 2_800 < len(chosen) < 3_200
    assert not share(range(100), 0)


def test_sources_are_read_as_the_server_has_them() -> None:
    spec = {
        "bootstrapServers": ["kafka:9092"],
        "topics": ["storage_queue"],
        "consumerGroup": "pacsless-extract-tags",
        "initialOffset": "earliest",
        "ordering": "ordered",
        "consumers": 4,
        "delivery": {"retry": 1, "deadLetterSink": _SINK},
        "sink": {"ref": {"kind": "Service", "name": "extract-tags"}},
    }
    told = {
        "sources": [{"metadata": {"name": "one", "namespace": "default"}, "spec": spec}],
        "sinks": [{"metadata": {"name": "dlq"}, "spec": {"topic": "storage_queue.dlq"}}],
        "addresses": {"extract-tags": "http://extract-tags.default.svc.cluster.local"},
    }
    (one,) = sources_of(told)
    assert (one.ordered, one.consumers, one.initial) == (True, 4, "earliest")
    assert one.target == "http://extract-tags.default.svc.cluster.local"
    assert one.dead_letters == "storage_queue.dlq"
    assert one.path == "/apis/v1/namespaces/default/kafkasources/one"
    assert not sources_of(told | {"ordering": "unordered"})[0].ordered

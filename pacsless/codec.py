"""CloudEvents 1.0 on Kafka and over HTTP: the only module that imports cloudevents.

On Kafka an event travels in binary mode: its attributes are ``ce_`` headers, its
data the value, its ``partitionkey`` the key (Kafka Protocol Binding §3). Over
HTTP a function takes one event in binary or structured mode, or a batch
(``application/cloudevents-batch+json``, HTTP Protocol Binding §3.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import gmtime, strftime, time_ns
from typing import Final, Generic, TypeVar

from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent, from_dict, from_http

from pacsless import strict_json
from pacsless.errors import BadRequest, Unprocessable
from pacsless.events import EVENTS, Event

E_co = TypeVar("E_co", bound=Event, covariant=True)

BATCH_CONTENT_TYPE: Final = "application/cloudevents-batch+json"
TOPIC_ATTRIBUTE: Final = "kafkatopic"
PARTITION_ATTRIBUTE: Final = "kafkapartition"
OFFSET_ATTRIBUTE: Final = "kafkaoffset"


def now() -> str:
    """The time as events state it: ISO 8601, UTC, microseconds."""
    return time_at(time_ns())


def time_at(nanoseconds: int) -> str:
    """Return a moment since the epoch as events state it.

    Examples
    --------
    >>> time_at(1_795_420_800_000_001_999)
    '2026-11-23T08:00:00.000001Z'
    """
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{_second(seconds)}.{rest // 1000:06}Z"


@lru_cache(4)
def _second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record that carries an event in binary mode."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Delivered(Generic[E_co]):
    """An event as it reached a function, with where in Kafka it came from."""

    event: E_co
    id: str
    time: str
    topic: str = ""
    partition: int = -1
    offset: int = -1


def to_record(event: Event, source: str, time: str | None = None) -> Record:
    """Encode an event as the Kafka record of its topic.

    Binary mode is a header for each attribute and the data as the value (Kafka
    Protocol Binding §3.2). It is written down here because the library takes
    several times as long, for every event of every part; a contract test holds
    both to the same bytes.

    Parameters
    ----------
    event
        The fact.
    source
        CloudEvents ``source``: ``/scp-gateway``, ``/functions/extract_tags``.
    time
        CloudEvents ``time``; now unless given.
    """
    key = event.partition_key.encode()
    headers = (
        ("ce_id", event.id.encode()),
        ("ce_source", source.encode()),
        ("ce_specversion", b"1.0"),
        ("ce_subject", event.subject.encode()),
        ("ce_time", (time or now()).encode()),
        ("ce_type", event.TYPE.encode()),
        ("content-type", b"application/json"),
    )
    return Record(event.TOPIC, key, strict_json.dumps(event.data()), headers)


def batch_item(
    headers: Iterable[tuple[str, bytes]], value: bytes, topic: str, partition: int, offset: int
) -> bytes:
    """Turn a Kafka record into one element of a JSON batch.

    The data is not parsed: the record's value goes into the batch as it is when
    it is JSON by its content type, so a poison value is the function's to judge.

    Raises
    ------
    Unprocessable
        If the record is no CloudEvent in binary mode, or its value is not UTF-8.
    """
    attributes: dict[str, str] = {}
    for name, raw in headers:
        if name.startswith("ce_"):
            attributes[name[3:]] = raw.decode("utf-8", "replace")
        elif name == "content-type":
            attributes["datacontenttype"] = raw.decode("utf-8", "replace")
    for required in ("id", "type", "source", "specversion"):
        if not attributes.get(required):
            raise Unprocessable("not-a-cloudevent", f"the record has no ce_{required} header")
    attributes |= {
        TOPIC_ATTRIBUTE: topic,
        PARTITION_ATTRIBUTE: str(partition),
        OFFSET_ATTRIBUTE: str(offset),
    }
    try:
        strict_json.loads(value)
    except (ValueError, RecursionError):
        raise Unprocessable("not-json", "the record's value is not JSON in UTF-8") from None
    head = strict_json.dumps(attributes)[:-1]
    return head + b',"data":' + value + b"}"


def batch(items: Sequence[bytes]) -> bytes:
    """Join batch elements into a request body."""
    return b"[" + b",".join(items) + b"]"


def decode_http(headers: Mapping[str, str], body: bytes) -> list[Delivered[Event]]:
    """Read the event or events of a request, in any of the three modes.

    Raises
    ------
    BadRequest
        If the request holds no CloudEvents.
    Unprocessable
        If an event is of an unknown type or its data breaks its schema.
    """
    content_type = headers.get("content-type", headers.get("Content-Type", ""))
    try:
        if content_type.partition(";")[0].strip().lower() == BATCH_CONTENT_TYPE:
            items = strict_json.loads(body)
            if not isinstance(items, list):
                raise BadRequest("not-a-batch", "a batch of CloudEvents is a JSON array")
            found = [_checked(from_dict(item)) for item in items]
        else:
            found = [_checked(from_http(dict(headers), body))]
        places = [_place(one) for one in found]
    except (GenericException, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        # The library's messages quote the request, which may hold patient data.
        raise BadRequest(
            "not-a-cloudevent",
            "send a CloudEvent 1.0 in binary or structured mode, or a JSON batch of them",
        ) from None
    return [_delivered(one, place) for one, place in zip(found, places, strict=True)]


def _checked(event: CloudEvent) -> CloudEvent:
    if event["specversion"] != "1.0":
        raise ValueError("specversion")
    return event


def _place(event: CloudEvent) -> tuple[str, int, int]:
    topic = str(event.get(TOPIC_ATTRIBUTE) or "")
    numbers = (event.get(PARTITION_ATTRIBUTE), event.get(OFFSET_ATTRIBUTE))
    partition, offset = (-1 if one is None else int(one) for one in numbers)
    return topic, partition, offset


def _delivered(cloud_event: CloudEvent, place: tuple[str, int, int]) -> Delivered[Event]:
    kind = EVENTS.get(str(cloud_event["type"]))
    if kind is None:
        raise Unprocessable("unknown-type", "no event of this type and version is known")
    data = cloud_event.get_data()
    if isinstance(data, bytes | str):
        try:
            data = strict_json.loads(data if isinstance(data, bytes) else data.encode())
        except (ValueError, RecursionError):
            raise Unprocessable("not-json", f"data of {kind.TYPE} is not JSON") from None
    attributes = cloud_event.get_attributes()
    return Delivered(
        kind.from_data(data),
        str(attributes["id"]),
        str(attributes.get("time", "")),
        *place,
    )

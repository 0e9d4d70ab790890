"""How a KafkaSource delivers: no I/O, no clock.

As Knative's dispatcher for Kafka does it, whose defaults these are. It runs in a pod
beside `dispatcher`, so it imports nothing of the project's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

MOST_IN_A_POLL = 50
"""``max.poll.records``: of the whole cluster, not of a source."""

_TRIED_AGAIN = frozenset({404, 408, 409, 429})
_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")

Headers = list[tuple[str, bytes]]


def tried_again(status: int) -> bool:
    """Whether an answer is worth another try; what is none goes to the dead letters at once."""
    return status >= 500 or status in _TRIED_AGAIN


def taken(status: int) -> bool:
    """Whether an event is done. What the answer says else is not read."""
    return 200 <= status < 300


@dataclass(frozen=True)
class Delivery:
    """What a source's ``delivery`` says."""

    retry: int
    backoff: float
    exponential: bool
    timeout: float
    dead_letters: str = ""
    """Name of the KafkaSink; empty for none, and what fails is lost."""

    @classmethod
    def of(cls, spec: dict[str, Any]) -> Delivery:
        """Read it of a KafkaSource's spec.

        Where there is none at all, retries are ten; where it names none, there are none.
        """
        given = spec.get("delivery")
        if given is None:
            return cls(10, 0.3, exponential=True, timeout=600.0)
        reference = given.get("deadLetterSink", {}).get("ref", {})
        return cls(
            retry=int(given.get("retry", 0)),
            backoff=seconds(given.get("backoffDelay", "PT0.3S")),
            exponential=given.get("backoffPolicy", "exponential") == "exponential",
            timeout=seconds(given.get("timeout", "PT600S")),
            dead_letters=str(reference.get("name", "")),
        )

    def pause(self, failures: int) -> float:
        """Seconds before the next try, after so many that failed."""
        return self.backoff * (2**failures if self.exponential else failures)


def seconds(duration: str) -> float:
    """Read an ISO 8601 duration."""
    found = _DURATION.fullmatch(duration)
    if not found or not any(found.groups()):
        raise ValueError(f"{duration} is no duration")
    hours, minutes, rest = (float(one or 0) for one in found.groups())
    return hours * 3600 + minutes * 60 + rest


@dataclass(frozen=True)
class Source:
    """A KafkaSource, and what it names."""

    name: str
    namespace: str
    servers: list[str]
    group: str
    topics: list[str]
    ordered: bool
    consumers: int
    initial: str
    delivery: Delivery
    target: str
    dead_letters: str
    """Topic; empty for none."""
    again: float
    shuffle: bool

    @property
    def path(self) -> str:
        """Name of it in events that it makes of records that are none."""
        return f"/apis/v1/namespaces/{self.namespace}/kafkasources/{self.name}"


def sources_of(given: dict[str, Any]) -> list[Source]:
    """Put together what `dispatcher` is given: sources, their sinks, addresses of Services."""
    sinks = {one["metadata"]["name"]: one["spec"]["topic"] for one in given["sinks"]}
    found = []
    for one in given["sources"]:
        spec, metadata = one["spec"], one["metadata"]
        delivery = Delivery.of(spec)
        found.append(
            Source(
                name=metadata["name"],
                namespace=metadata["namespace"],
                servers=spec["bootstrapServers"],
                group=spec["consumerGroup"],
                topics=spec["topics"],
                ordered=given.get("ordering") != "unordered"
                and spec.get("ordering", "ordered") == "ordered",
                consumers=spec.get("consumers", 1),
                initial=spec.get("initialOffset", "latest"),
                delivery=delivery,
                target=given["addresses"][spec["sink"]["ref"]["name"]],
                dead_letters=sinks[delivery.dead_letters] if delivery.dead_letters else "",
                again=given.get("again", 0.0),
                shuffle=given.get("shuffle", False),
            )
        )
    return found


class Offsets:
    """Which offsets of a partition are done: what is committed has no gap before it."""

    def __init__(self, first: int) -> None:
        self._next = first
        """All before it were read."""
        self._open: set[int] = set()

    def read(self, offset: int) -> None:
        """Note that a record is in hand."""
        self._open.add(offset)
        self._next = max(self._next, offset + 1)

    def done(self, offset: int) -> None:
        """Note that a record is delivered, or a dead letter, or lost."""
        self._open.discard(offset)

    @property
    def position(self) -> int:
        """What may be committed."""
        return min(self._open, default=self._next)

    def __len__(self) -> int:
        return len(self._open)


class Record(Protocol):
    """A record as kafka-python has it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]


def as_request(record: Record, source: str) -> dict[str, str]:
    """Headers of the POST for a record; its value is the body. Always binary mode.

    A record that is a CloudEvent is sent as that one, without its key; another one is made
    an event of Knative's.
    """
    found = {name.lower(): value.decode("utf-8", "replace") for name, value in record.headers}
    sent = {}
    if "content-type" in found:
        sent["content-type"] = found.pop("content-type")
    if all(f"ce_{one}" in found for one in ("id", "source", "specversion", "type")):
        return sent | {
            f"ce-{name[3:]}": value for name, value in found.items() if name.startswith("ce_")
        }
    sent |= {
        "ce-specversion": "1.0",
        "ce-id": f"partition:{record.partition}/offset:{record.offset}",
        "ce-type": "dev.knative.kafka.event",
        "ce-source": f"{source}#{record.topic}",
        "ce-subject": f"partition:{record.partition}#{record.offset}",
    }
    if record.key is not None:
        key = record.key.decode("utf-8", "replace")
        sent |= {"ce-key": key, "ce-partitionkey": key}
    for name, value in found.items():
        sent[f"ce-kafkaheader{re.sub('[^a-z0-9]', '', name)}"] = value
    return sent


def as_dead_letter(
    request: dict[str, str], target: str, status: int, answer: bytes
) -> tuple[bytes | None, Headers]:
    """Key and headers of the record that a KafkaSink makes of an event nobody took."""
    told = request | {"ce-knativeerrordest": target}
    if status:
        told |= {
            "ce-knativeerrorcode": str(status),
            "ce-knativeerrordata": answer[:1024].decode("utf-8", "replace"),
        }
    headers = [
        (f"ce_{name[3:]}" if name.startswith("ce-") else name, value.encode())
        for name, value in told.items()
    ]
    key = told.get("ce-partitionkey")
    return (None if key is None else key.encode()), headers


def share(numbers: Iterable[int], part: float) -> list[int]:
    """Choose a part of these, always the same ones."""
    return [one for one in numbers if one * 2654435761 % 1000 < part * 1000]

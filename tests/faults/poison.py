"""Events that nobody can handle, put among the others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, Final

from pacsless.bus import Producer
from pacsless.codec import Record, to_record
from pacsless.errors import Unavailable
from pacsless.events import (
    InstanceConversionRequested,
    InstanceIndexed,
    InstanceReceived,
    InstanceStored,
    SeriesRevised,
)
from pacsless.functions import load_functions
from tests.crash.load import Instance
from tests.events import EXAMPLES
from tests.eventually import eventually

MARK: Final = "poison"
"""Header that says which poison a record is; no part reads it."""

_KINDS: Final = (
    (InstanceStored, "unknown-type"),
    (InstanceStored, "not-json"),
    (InstanceStored, "not-a-cloudevent"),
    (InstanceStored, "no-such-file"),
    *(
        (kind, "schema")
        for kind in (
            InstanceStored, InstanceReceived, SeriesRevised, InstanceIndexed,
            InstanceConversionRequested,
        )
    ),
)  # fmt: skip
"""What is put where, by the code its dead letter must have."""


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter as it must be."""

    mark: str
    function: str
    code: str


class Poison:
    """Puts poison on the topics and remembers what must become of it."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.expected: set[Buried] = set()
        """The dead letters there must be: one for each function that reads the topic."""

    def inject(self, number: int, instances: Sequence[Instance], chance: random.Random) -> None:
        """Put one of each kind among the events of the instances' studies."""
        functions = load_functions()
        for kind, code in _KINDS:
            mark = f"{number}/{kind.TOPIC}/{code}"
            self._send(_record(kind, code, chance.choice(instances), mark))
            self.expected |= {
                Buried(mark, name, code)
                for name, spec in functions.items()
                if kind.TOPIC in spec.topics
            }

    def _send(self, record: Record) -> None:
        def sent() -> bool:
            answers: SimpleQueue[BaseException | None] = SimpleQueue()
            try:
                self._producer.send_record(record, answers.put)
            except Unavailable:
                return False
            if answers.get(timeout=60) is None:
                return True
            self._producer.reset()
            return False

        eventually(sent, within=180)


def _record(kind: Any, code: str, instance: Instance, mark: str) -> Record:
    identity = instance.identity
    example: Any = EXAMPLES[kind.TYPE]
    event = replace(
        example,
        tenant_id=identity.tenant_id,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
    )
    if isinstance(event, InstanceStored):
        event = replace(event, file_path=event.identity.key)
    record = to_record(event, "/tests/faults")
    headers, value = dict(record.headers), record.value
    match code:
        case "unknown-type":
            headers["ce_type"] = b"org.pacsless.instance.forgotten.v1"
        case "not-json":
            value = b"\xff\xfe{"
        case "not-a-cloudevent":
            del headers["ce_type"]
        case "schema":
            value = b"{}"
    headers[MARK] = mark.encode()
    return Record(record.topic, record.key, value, tuple(headers.items()))

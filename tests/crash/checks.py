"""Archive and topics held against the ledger of the senders."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pacsless.codec import decode_http
from pacsless.events import Event, InstanceReceived, InstanceStored
from tests.crash.load import Instance, SenderLedger

INCOMING: Final = ".incoming"
_SWEEP_SECONDS: Final = 2.0


@dataclass(slots=True)
class Violations:
    """What should not be; every kind is counted, some are shown."""

    kinds: Counter[str] = field(default_factory=Counter)
    shown: list[str] = field(default_factory=list)

    def add(self, kind: str, where: str) -> None:
        """Note one."""
        self.kinds[kind] += 1
        if self.kinds[kind] <= 5:
            self.shown.append(f"{kind}: {where}")

    def __bool__(self) -> bool:
        return bool(self.kinds)


def torn(path: Path, instance: Instance) -> str:
    """Say what is wrong with the file of an instance; nothing if it is whole."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return "absent"
    if content[:132] != bytes(128) + b"DICM":
        return "torn: no preamble of zeros with DICM"
    # PS3.10 §7.1: (0002,0000) is the first element and says where the data set begins.
    end = 144 + int.from_bytes(content[140:144], "little")
    if hashlib.sha256(content[end:]).hexdigest() != instance.sha256:
        return f"torn: the data set is another, {len(content) - end} of {instance.bytes} bytes"
    meta = dcmread(BytesIO(content[:end])).file_meta
    said = (
        meta.MediaStorageSOPInstanceUID, meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID
    )  # fmt: skip
    wanted = (instance.identity.sop_instance_uid, CTImageStorage, ExplicitVRLittleEndian)
    return "" if said == wanted else "torn: File Meta Information of another instance"


def check_instances(
    archive: Path, acknowledged: Iterable[Instance], others: Iterable[Instance],
    violations: Violations, when: str,
) -> None:  # fmt: skip
    """Hold some instances against the archive: `others` may be absent, but not torn."""
    for one in acknowledged:
        if problem := torn(archive / one.key, one):
            violations.add("acknowledged, and " + problem.partition(":")[0],
                           f"{one.key} {when}: {problem}")  # fmt: skip
    for one in others:
        problem = torn(archive / one.key, one)
        if problem and problem != "absent":
            violations.add("not acknowledged, and torn", f"{one.key} {when}: {problem}")


def check_presence(archive: Path, acknowledged: Iterable[Instance], violations: Violations) -> None:
    """Look for the files of many instances, without reading them."""
    for one in acknowledged:
        if not (archive / one.key).is_file():
            violations.add("acknowledged, and absent", one.key)


def check_incoming(archive: Path, violations: Violations, when: str) -> None:
    """Nothing may be left half received when nobody sends."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    while left := sorted(path.name for path in (archive / INCOMING).iterdir()):
        if time.monotonic() > deadline:
            violations.add("left among the incoming files", f"{len(left)} files {when}: {left[0]}")
            return
        time.sleep(0.05)


def check_archive(archive: Path, ledger: SenderLedger, violations: Violations) -> dict[str, str]:
    """Read the whole archive; return the digest of every file by key."""
    digests: dict[str, str] = {}
    for path in files_of(archive):
        key = path.relative_to(archive).as_posix()
        instance = ledger.sent.get(key)
        if instance is None:
            violations.add("in the archive, and never sent", key)
            continue
        if problem := torn(path, instance):
            violations.add("torn", f"{key}: {problem}")
        digests[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    for key in ledger.acknowledgements().keys() - digests.keys():
        violations.add("acknowledged, and absent", key)
    return digests


def files_of(archive: Path) -> Iterator[Path]:
    """Files under a key."""
    for path in archive.rglob("*"):
        if path.is_file() and INCOMING not in path.parts:
            yield path


class Topics:
    """Reads a broker's topics from where they end now.

    Parameters
    ----------
    server
        Bootstrap server.
    """

    def __init__(self, server: str) -> None:
        from kafka import KafkaConsumer, TopicPartition

        self.server = server
        self._consumer: Any = KafkaConsumer(bootstrap_servers=server, enable_auto_commit=False)
        self._partitions = [
            TopicPartition(kind.TOPIC, one)
            for kind in (InstanceStored, InstanceReceived)
            for one in self._consumer.partitions_for_topic(kind.TOPIC)
        ]
        self._consumer.assign(self._partitions)
        self._consumer.seek_to_end(*self._partitions)
        for one in self._partitions:
            self._consumer.position(one)
        self.stored: list[InstanceStored] = []
        self.received: list[InstanceReceived] = []

    def read(self) -> list[Event]:
        """Read what is new; keep and return it."""
        ends = self._consumer.end_offsets(self._partitions)
        found: list[Event] = []
        while any(self._consumer.position(one) < ends[one] for one in self._partitions):
            for records in self._consumer.poll(timeout_ms=500).values():
                found += [_event(record) for record in records]
        self.stored += [one for one in found if isinstance(one, InstanceStored)]
        self.received += [one for one in found if isinstance(one, InstanceReceived)]
        return found

    def close(self) -> None:
        """Hang up."""
        self._consumer.close()


def _event(record: Any) -> Event:
    headers = {name.replace("ce_", "ce-"): value.decode() for name, value in record.headers}
    (delivered,) = decode_http(headers, record.value)
    event: Event = delivered.event
    assert headers["ce-id"] == event.id, "an event's id is not the one of what it says"
    assert record.key == event.partition_key.encode(), "an event's key is not its study"
    return event


def check_topics(
    topics: Topics, digests: dict[str, str], ledger: SenderLedger, violations: Violations
) -> None:
    """Hold the topics against the files: at least once in transport, exactly once in effect."""
    ids: dict[str, set[str]] = {}
    for stored in topics.stored:
        ids.setdefault(stored.file_path, set()).add(stored.id)
        if stored.file_path not in digests:
            violations.add("announced, and not in the archive", stored.file_path)
        elif stored.sha256 != digests[stored.file_path]:
            violations.add("announced with another digest", stored.file_path)
    for key in digests.keys() - ids.keys():
        violations.add("in the archive, and not announced", key)
    for key, some in ids.items():
        if len(some) > 1:
            violations.add("announced under several ids", key)
    attempts: dict[str, set[str]] = {}
    by_uid = {one.identity.sop_instance_uid: key for key, one in ledger.sent.items()}
    for received in topics.received:
        key = by_uid.get(received.sop_instance_uid, "")
        if not key:
            violations.add("logged, and never sent", received.sop_instance_uid)
            continue
        attempts.setdefault(key, set()).add(received.attempt_id)
        if received.status == 0 and key not in digests:
            violations.add("logged as stored, and not in the archive", key)
    for key, several in attempts.items():
        if len(several) > ledger.attempts[key]:
            violations.add("logged more often than sent", key)


def figures(ledger: SenderLedger, topics: Topics | None = None) -> dict[str, Any]:
    """Count what was done."""
    found: dict[str, Any] = {
        "sent": ledger.attempts.total(),
        "acknowledged": ledger.total,
        "instances": len(ledger.acknowledged),
    }
    if topics is not None:
        found["events"] = len(topics.stored)
        found["events repeated"] = len(topics.stored) - len({one.id for one in topics.stored})
        found["attempts logged"] = len({one.attempt_id for one in topics.received})
    return found

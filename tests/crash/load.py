"""Senders that never stop, and the ledger of what they sent and were answered."""

from __future__ import annotations

import hashlib
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pacsless.identity import InstanceIdentity
from pacsless.send.association import Association, ConnectionLost
from pacsless.send.files import DicomFile
from pacsless.send.pdu import Context, Receiver
from tests.gateway import data_set
from tests.instances import encode, make_dataset

SMALL: Final = 8 << 10
LARGE: Final = 500 << 10
_LARGE_SHARE: Final = 0.03
_SERIES: Final = 10
_STUDY: Final = 40
_ROOT: Final = "1.2.826.0.1.3680043.10.1439"
_CONTEXT: Final = Context(str(CTImageStorage), str(ExplicitVRLittleEndian))
_RETRY_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as it is sent."""

    number: int
    identity: InstanceIdentity
    bytes: int
    """Of the data set."""
    sha256: str
    """Of the data set."""

    @property
    def key(self) -> str:
        return self.identity.key


class Instances:
    """A tenant's instances by number; the same seed and number give the same bytes.

    Tenants have the same UIDs for the same numbers, and other pixels.
    """

    def __init__(self, seed: int, tenant: str = "default") -> None:
        self.seed = seed
        self.tenant = tenant

    def make(self, number: int, pixel_bytes: int = 0) -> tuple[Instance, bytes]:
        """Return an instance and its data set."""
        # `make crash` was proved with these instances of these seeds.
        whose = "" if self.tenant == "default" else f"/{self.tenant}"
        chance = random.Random(f"{self.seed}{whose}/{number}")
        large = chance.random() < _LARGE_SHARE
        size = pixel_bytes or (LARGE if large else SMALL)
        uids = [
            _uid(level, self.seed, group)
            for level, group in enumerate((number // _STUDY, number // _SERIES, number))
        ]
        content = bytearray(_template(size))
        for level, uid in enumerate(uids):
            placeholder = _uid(level, 0, 0).encode()
            at = content.index(placeholder)
            content[at : at + len(placeholder)] = uid.encode()
        content[-size:] = chance.randbytes(size)
        digest = hashlib.sha256(content).hexdigest()
        identity = InstanceIdentity(self.tenant, *uids)
        return Instance(number, identity, len(content), digest), bytes(content)


def _uid(level: int, seed: int, number: int) -> str:
    # Of one length each: they are written over the template's.
    return f"{_ROOT}.{level + 1}.{10**9 + seed % 10**9}.{10**9 + number}"


@cache
def _template(size: int) -> bytes:
    uids = [_uid(level, 0, 0) for level in range(3)]
    dataset = make_dataset(
        bytes(size), StudyInstanceUID=uids[0], SeriesInstanceUID=uids[1], SOPInstanceUID=uids[2]
    )
    return data_set(encode(dataset))


class SenderLedger:
    """What was sent, how often, and what was answered; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent: dict[str, Instance] = {}
        """Every instance ever begun, by key."""
        self.acknowledged: dict[str, Instance] = {}
        """Those answered 0x0000, by key."""
        self.attempts: Counter[str] = Counter()
        """How often each was begun, by key."""
        self.answers: defaultdict[int, Counter[str]] = defaultdict(Counter)
        """How often each got which status."""
        self.rejections: Counter[str] = Counter()
        """Why associations were not made, or broke."""

    def begin(self, instance: Instance) -> None:
        """Note that an instance is about to be sent."""
        with self._lock:
            self.sent[instance.key] = instance
            self.attempts[instance.key] += 1

    def answered(self, instance: Instance, status: int) -> None:
        """Note an answer."""
        with self._lock:
            self.answers[status][instance.key] += 1
            if status == 0:
                self.acknowledged[instance.key] = instance

    def lost(self, why: str) -> None:
        """Note that an association broke, or could not be made."""
        with self._lock:
            self.rejections[why] += 1

    def forget(self, keys: set[str]) -> None:
        """Take back acknowledgements of what a power cut may have taken."""
        with self._lock:
            for key in keys:
                self.acknowledged.pop(key, None)

    def acknowledgements(self) -> dict[str, Instance]:
        """Return what is acknowledged by now."""
        with self._lock:
            return dict(self.acknowledged)

    @property
    def total(self) -> int:
        """Answers of 0x0000 so far, duplicates included."""
        with self._lock:
            return self.answers[0].total()


def store(association: Association, path: Path, instance: Instance, ledger: SenderLedger) -> int:
    """Send the data set at `path` as `instance`; return the status."""
    file = DicomFile(
        path, 0, instance.bytes, _CONTEXT.transfer_syntax, _CONTEXT.sop_class_uid,
        instance.identity.sop_instance_uid, "", "",
    )  # fmt: skip
    ledger.begin(instance)
    answer = association.store(file)
    ledger.answered(instance, answer.status)
    return answer.status


def associate(receiver: Receiver) -> Association:
    """Ask for an association that takes the harness's instances."""
    return Association(receiver, [_CONTEXT])


class Load:
    """Several senders at once; they pause and go on when told.

    Parameters
    ----------
    receiver
        Where to send to.
    instances, ledger
        What to send, and where it is written down.
    folder
        For the files being sent.
    senders
        How many associations at a time.
    stay
        Never release an association: it ends only if the receiver does it.
    """

    def __init__(
        self,
        receiver: Receiver,
        instances: Instances,
        ledger: SenderLedger,
        folder: Path,
        senders: int,
        *,
        stay: bool = False,
    ) -> None:
        self.receiver = receiver
        self.ledger = ledger
        self._instances = instances
        self._folder = folder
        self._stay = stay
        self._state = threading.Condition()
        self._next = 0
        self._running = False
        self._busy = 0
        self._over = False
        self._active = senders
        self._at_acknowledgement: Callable[[], None] | None = None
        self.broken = 0
        """Associations that broke while they were needed."""
        self._threads = [
            threading.Thread(
                target=self._work, args=(one, random.Random(f"{instances.seed}/sender/{one}"))
            )
            for one in range(senders)
        ]
        for thread in self._threads:
            thread.start()

    def resume(self, senders: int = 0) -> None:
        """Send, with `senders` of the senders, or all."""
        with self._state:
            self._active = senders or len(self._threads)
            self._running = True
            self._state.notify_all()

    def pause(self) -> None:
        """Return when nobody sends any more; what is being sent is finished first."""
        with self._state:
            self._running = False
            self._at_acknowledgement = None
            self._state.wait_for(lambda: not self._busy, 120)
            assert not self._busy, "a sender hangs"

    def stop(self) -> None:
        """End all senders."""
        self.pause()
        with self._state:
            self._over = True
            self._state.notify_all()
        for thread in self._threads:
            thread.join(60)

    def at_acknowledgement(self, action: Callable[[], None]) -> None:
        """Have the sender that is acknowledged next run `action` before anything else."""
        with self._state:
            self._at_acknowledgement = action

    def _work(self, index: int, chance: random.Random) -> None:
        while self._may_go(index):
            try:
                association = associate(self.receiver)
            except ConnectionLost as error:
                self.ledger.lost(error.message)
                self._left(_RETRY_SECONDS)
                continue
            try:
                with association:
                    many = 10**9 if self._stay else chance.randint(1, 60)
                    self._send(association, index, chance, many)
            except ConnectionLost as error:
                self.ledger.lost(error.message)
                with self._state:
                    self.broken += 1
            self._left(0)

    def _may_go(self, index: int) -> bool:
        with self._state:
            self._state.wait_for(lambda: self._over or (self._running and index < self._active))
            self._busy += not self._over
            return not self._over

    def _left(self, seconds: float) -> None:
        with self._state:
            self._busy -= 1
            self._state.notify_all()
            if seconds:
                self._state.wait_for(lambda: self._over, seconds)

    def _send(self, association: Association, index: int, chance: random.Random, many: int) -> None:
        path = self._folder / f"sender-{index}"
        while many and self._running:
            many -= 1
            with self._state:
                number = self._next
                if number and chance.random() < 0.05:
                    number = chance.randrange(number)
                else:
                    self._next += 1
            instance, content = self._instances.make(number)
            path.write_bytes(content)
            if store(association, path, instance, self.ledger) == 0:
                with self._state:
                    action, self._at_acknowledgement = self._at_acknowledgement, None
                if action is not None:
                    action()

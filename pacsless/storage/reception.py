"""One instance on its way into the archive, from its first bytes to an honest answer.

Success is answered only when the file and the promise to tell Kafka of it are
durable (DECISIONS.md, "0x0000 means durable"): seal, intend, keep, then answer;
what became of it is noted after the answer, as a crash would find that out.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from pacsless.archive import AlreadyKept, Sealed
from pacsless.codec import Record, time_at
from pacsless.dicom.scan import Identifiers, ScanError
from pacsless.identity import InstanceIdentity
from pacsless.outbox import Intent, JournalUnavailable
from pacsless.storage import facts
from pacsless.storage.answers import Answer, Refused, Sender, Status, refusal, uid_or_nothing
from pacsless.storage.received import Received
from pacsless.storage.same import keep

if TYPE_CHECKING:
    from pacsless.storage.service import StorageService

_COUNT_BYTES: Final = 1 << 20
_log = logging.getLogger(__name__)


class Reception(ABC):
    """An instance on its way into the archive.

    Nothing raises but `pacsless.storage.ObjectTooLarge`: what goes wrong is kept
    for the answer, and the rest of the instance is read past, because a sender
    listens only when it has sent all. The order is `write`…, `finish`, `conclude`;
    and `abandon`, in any case. Where there is one answer for each instance it is sent
    before `conclude`, which the sender need not wait for.

    Parameters
    ----------
    service
        Where it goes.
    sender
        Who sends it.
    """

    VIA: ClassVar[str]
    """The service it comes by, as events name it."""
    SOURCE: ClassVar[str]
    """Who tells of it: the events' source."""

    def __init__(self, service: StorageService, sender: Sender) -> None:
        self.service = service
        self.sender = sender
        self.sop_class_uid = self.sop_instance_uid = self.transfer_syntax = ""
        """As far as they are known; they may be anything."""
        self.identifiers = Identifiers("", "", "", "", "")
        self.bytes = 0
        """As far as they have come."""
        self._started = time.monotonic()
        # Whole microseconds: events state no more, and a rebuild reads it back from the file.
        self._received_ns = time.time_ns() // 1000 * 1000
        self._received_at = time_at(self._received_ns)
        self._counted = 0
        self._head = b""
        self._received: Received | None = None
        self._failure: Exception | None = None
        self._mark: Callable[[list[Record]], None] = self._note
        """Says in the journal what became of the instance, with events beside it."""
        self._answer: Answer | None = None
        self._seconds = 0.0
        service.receptions.add(self)

    @abstractmethod
    def head(self) -> bytes:
        """Look at what is known before the first byte; return what the file begins with.

        Raises
        ------
        Refused, PacslessError
            If it is not to be stored.
        """

    @abstractmethod
    def scan(self, received: Received, sealed: Sealed) -> int:
        """Learn who the instance is; return the offset of its data set in the file.

        Raises
        ------
        Refused, PacslessError
            If that cannot be, or it is not to be stored.
        """

    @property
    def tenant_id(self) -> str:
        """Whose it is."""
        return self.sender.tenant_id

    def open(self) -> None:
        """Make ready for the first `write`."""
        try:
            if self.service.space.is_full:
                raise Refused(Status.OUT_OF_RESOURCES, "disk-full", "the disk is above its mark")
            self._head = self.head()
            self._received = Received(self.service.archive, self.service.owner, self._head)
        except Exception as error:  # noqa: BLE001  # answered, and logged then
            self._failure = error

    def write(self, fragment: bytes | memoryview) -> None:
        """Take the next fragment.

        Raises
        ------
        ObjectTooLarge
            If the object has grown beyond its limit: a sender of endless
            fragments never asks for a status.
        """
        self.bytes += len(fragment)
        self.service.check_size(self.bytes)
        if self._failure is not None:
            return
        try:
            if self.bytes - self._counted > _COUNT_BYTES:
                self._counted = self.bytes
                if self.service.bytes_of(self.tenant_id) > self.service.limits.tenant_bytes:
                    raise Refused(
                        Status.OUT_OF_RESOURCES, "tenant-limit", "the tenant sends too much at once"
                    )
            assert self._received is not None
            self._received.write(fragment)
        except Exception as error:  # noqa: BLE001  # answered, and logged then
            self._failure = error
            self._drop_file()

    def fail(self, error: Exception) -> None:
        """Say why it cannot be stored, where that is found out elsewhere."""
        self._failure = self._failure or error
        self._drop_file()

    def abandon(self) -> None:
        """Forget what was received; the last call, whatever was before."""
        self._drop_file()
        self.service.receptions.discard(self)

    def _drop_file(self) -> None:
        if self._received is not None:
            self._received.drop()

    def finish(self) -> Answer:
        """Store what was received, and say what to answer."""
        try:
            self._answer = self._store()
        except Exception as error:  # noqa: BLE001  # whatever it is, the sender gets a status
            self._answer = refusal(error)
            bug = self._answer.status is Status.PROCESSING_FAILURE
            _log.log(
                logging.ERROR if bug else logging.WARNING,
                "instance refused",
                extra={
                    "fields": {
                        "status": f"{self._answer.status:04X}",
                        "reason": self._answer.reason,
                        "tenant": self.sender.tenant_id,
                        "calling": self.sender.calling_ae_title,
                        "instance": uid_or_nothing(self.sop_instance_uid),
                    }
                },
                exc_info=error if bug else None,
            )
        finally:
            self._drop_file()
        self._seconds = time.monotonic() - self._started
        return self._answer

    def conclude(self) -> None:
        """Note in the journal what became of it, and count it."""
        if self._answer is None:
            return
        self._mark(self._attempt(self._answer))
        self.service.on_answer(self._answer, self.bytes)

    def _attempt(self, answer: Answer) -> list[Record]:
        try:
            record = facts.received(
                self,
                answer,
                file_size=len(self._head) + self.bytes,
                seconds=self._seconds,
                received_at=self._received_at,
            )
        except Exception:  # noqa: BLE001  # the mark beside it is worth more than this event
            _log.exception("an attempt could not be described")
            return []
        return [record]

    def _store(self) -> Answer:
        if self._failure is not None:
            raise self._failure
        assert self._received is not None
        sealed = self._received.seal(self._received_ns)
        try:
            offset = self.scan(self._received, sealed)
            identity = InstanceIdentity(
                self.sender.tenant_id,
                self.identifiers.study_instance_uid,
                self.identifiers.series_instance_uid,
                self.identifiers.sop_instance_uid,
            )
            return self._keep(sealed, identity, offset)
        except BaseException:
            self.service.archive.discard(sealed)
            raise

    def must_have(self, found: Identifiers, sop_class_uid: str, sop_instance_uid: str) -> None:
        """Refuse what does not say who it is, or says another than was said before.

        Parameters
        ----------
        found
            What the data set says.
        sop_class_uid, sop_instance_uid
            What was said before; empty if nothing was.

        Raises
        ------
        ScanError
            If a UID is missing.
        Refused
            If one is another.
        """
        for keyword, sent, said in (
            ("SOPClassUID", found.sop_class_uid, sop_class_uid),
            ("SOPInstanceUID", found.sop_instance_uid, sop_instance_uid),
            ("StudyInstanceUID", found.study_instance_uid, ""),
            ("SeriesInstanceUID", found.series_instance_uid, ""),
        ):
            if not sent:
                raise ScanError("missing-uid", f"the data set has no {keyword}")
            if said and said != sent:
                raise Refused(
                    Status.DOES_NOT_MATCH, "mismatch", f"{keyword} is another than was announced"
                )

    def _keep(self, sealed: Sealed, identity: InstanceIdentity, offset: int) -> Answer:
        archive, outbox = self.service.archive, self.service.outbox
        intent = self._promise(sealed, identity)
        # Until it has its key: whatever happens now, the promise is taken back.
        self._mark = partial(outbox.cancel, intent)
        kept = keep(archive, identity, sealed, offset, self._received_at)
        if kept is sealed:
            self._mark = partial(outbox.kept, intent)
            return Answer(Status.SUCCESS, "stored")
        # The key was taken, perhaps a moment ago: nothing was replaced.
        if kept is not None:
            if kept.sha256 != sealed.sha256:
                outbox.cancel(intent)
                intent = self._promise(kept, identity)
            self._mark = partial(outbox.kept, intent)
            archive.discard(sealed)
            return Answer(Status.SUCCESS, "duplicate")
        self._quarantine(sealed, identity)
        return Answer(
            Status.DUPLICATE_SOP_INSTANCE,
            "quarantined",
            "conflict",
            "the SOP Instance is stored with other content",
        )

    def _promise(self, sealed: Sealed, identity: InstanceIdentity) -> Intent:
        """Promise to tell of the instance.

        Also of one that is there already: its first promise may have been taken
        back, when a store kept it and its answer was lost.
        """
        record = facts.stored(self, identity, sealed, received_at=self._received_at)
        return self.service.outbox.intend(sealed, identity.key, [record])

    def _quarantine(self, sealed: Sealed, identity: InstanceIdentity) -> None:
        key = f"quarantine/{identity.key.removesuffix('.dcm')}.{sealed.sha256}.dcm"
        try:
            self.service.archive.keep(sealed, key)
        except AlreadyKept:  # the same again
            self.service.archive.discard(sealed)

    def _note(self, records: list[Record]) -> None:
        try:
            self.service.outbox.note(records)
        except (JournalUnavailable, ValueError):
            # The answer stands: this event only reports it.
            _log.warning("an event was not noted")

"""One C-STORE: from the first fragment of the data set to an honest status.

0x0000 is answered only when the file and the promise to tell Kafka of it are
durable (DECISIONS.md, "0x0000 means durable"): seal, intend, keep, then answer;
what became of it is noted after the answer, as a crash would find that out.
The statuses are those of PS3.4 Table B.2-1 and PS3.7 §9.1.1.1.9.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from pacsless.archive import AlreadyKept, Sealed
from pacsless.codec import Record, time_at
from pacsless.dicom.part10 import file_meta
from pacsless.dicom.scan import Identifiers, ScanError
from pacsless.identity import InstanceIdentity, valid_uid
from pacsless.outbox import Intent, JournalUnavailable
from scp_gateway import facts
from scp_gateway.answers import Answer, Refused, Request, Sender, Status, refusal, uid_or_nothing
from scp_gateway.presentation import OTHER_SERVICES
from scp_gateway.received import Received
from scp_gateway.same import compare
from scp_gateway.storage import ObjectTooLarge, StorageService

_COUNT_BYTES: Final = 1 << 20
_log = logging.getLogger(__name__)


class Reception:
    """A data set on its way into the archive.

    Nothing raises but `ObjectTooLarge`: what goes wrong is kept for the answer,
    and the rest of the data set is read past, because a sender listens only when
    it has sent all. The order is `write`…, `finish`, the answer is sent, `conclude`;
    and `abandon`, in any case.
    """

    def __init__(self, service: StorageService, request: Request, sender: Sender) -> None:
        self._service = service
        self._request = request
        self._sender = sender
        self._started = time.monotonic()
        # Whole microseconds: events state no more, and a rebuild reads it back from the file.
        self._received_ns = time.time_ns() // 1000 * 1000
        self._received_at = time_at(self._received_ns)
        self.bytes = 0
        """Of the data set, as far as it has come."""
        self._counted = 0
        self._meta = b""
        self._received: Received | None = None
        self._identifiers = Identifiers("", "", "", "", "")
        self._failure: Exception | None = None
        self._mark: Callable[[list[Record]], None] = self._note
        """Says in the journal what became of the instance, with events beside it."""
        self._answer: Answer | None = None
        self._seconds = 0.0
        service.receptions.add(self)
        try:
            self._open()
        except Exception as error:  # noqa: BLE001  # answered, and logged then
            self._failure = error

    def _open(self) -> None:
        request = self._request
        if self._service.space.is_full:
            raise Refused(Status.OUT_OF_RESOURCES, "disk-full", "the disk is above its mark")
        if request.abstract_syntax in OTHER_SERVICES:
            raise Refused(
                Status.SOP_CLASS_NOT_SUPPORTED, "no-storage", "the context is of another service"
            )
        valid_uid(request.sop_class_uid, "Affected SOP Class UID")
        valid_uid(request.sop_instance_uid, "Affected SOP Instance UID")
        if request.sop_class_uid != request.abstract_syntax:
            raise Refused(
                Status.DOES_NOT_MATCH, "sop-class", "not the SOP Class of the presentation context"
            )
        self._meta = file_meta(
            request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax
        )
        self._received = Received(self._service.archive, self._service.owner, self._meta)

    def write(self, fragment: bytes | memoryview) -> None:
        """Take the next fragment of the data set.

        Raises
        ------
        ObjectTooLarge
            If the object has grown beyond its limit: a sender of endless
            fragments never asks for a status.
        """
        self.bytes += len(fragment)
        if self.bytes > self._service.limits.object_bytes:
            raise ObjectTooLarge("object-too-large", "an object is larger than is allowed")
        if self._failure is not None:
            return
        try:
            if self.bytes - self._counted > _COUNT_BYTES:
                self._counted = self.bytes
                if self._service.bytes_of(self.tenant_id) > self._service.limits.tenant_bytes:
                    raise Refused(
                        Status.OUT_OF_RESOURCES, "tenant-limit", "the tenant sends too much at once"
                    )
            assert self._received is not None
            self._received.write(fragment)
        except Exception as error:  # noqa: BLE001  # answered, and logged then
            self._failure = error
            self._drop_file()

    @property
    def tenant_id(self) -> str:
        """Whose it is."""
        return self._sender.tenant_id

    def abandon(self) -> None:
        """Forget what was received; the last call, whatever was before."""
        self._drop_file()
        self._service.receptions.discard(self)

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
                        "tenant": self._sender.tenant_id,
                        "calling": self._sender.calling_ae_title,
                        "instance": uid_or_nothing(self._request.sop_instance_uid),
                    }
                },
                exc_info=error if bug else None,
            )
        finally:
            self._drop_file()
        self._seconds = time.monotonic() - self._started
        return self._answer

    def conclude(self) -> None:
        """Do what the sender need not wait for: it has its answer, or it is gone."""
        if self._answer is None:
            return
        self._mark(self._attempt(self._answer))
        self._service.on_answer(self._answer, self.bytes)

    def _attempt(self, answer: Answer) -> list[Record]:
        try:
            record = facts.received(
                self._request,
                self._sender,
                self._identifiers,
                answer,
                file_size=len(self._meta) + self.bytes,
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
            self._identifiers = self._scan(sealed)
            identity = InstanceIdentity(
                self._sender.tenant_id,
                self._identifiers.study_instance_uid,
                self._identifiers.series_instance_uid,
                self._identifiers.sop_instance_uid,
            )
            return self._keep(sealed, identity)
        except BaseException:
            self._service.archive.discard(sealed)
            raise

    def _scan(self, sealed: Sealed) -> Identifiers:
        assert self._received is not None
        found = self._received.identifiers(sealed, self._request.transfer_syntax)
        for keyword, sent, said in (
            ("SOPClassUID", found.sop_class_uid, self._request.sop_class_uid),
            ("SOPInstanceUID", found.sop_instance_uid, self._request.sop_instance_uid),
            ("StudyInstanceUID", found.study_instance_uid, None),
            ("SeriesInstanceUID", found.series_instance_uid, None),
        ):
            if not sent:
                raise ScanError("missing-uid", f"the data set has no {keyword}")
            if said is not None and said != sent:
                raise Refused(Status.DOES_NOT_MATCH, "mismatch", f"{keyword} is not the command's")
        return found

    def _keep(self, sealed: Sealed, identity: InstanceIdentity) -> Answer:
        archive, outbox = self._service.archive, self._service.outbox
        intent = self._promise(sealed, identity)
        # Until it has its key: whatever happens now, the promise is taken back.
        self._mark = partial(outbox.cancel, intent)
        try:
            archive.keep(sealed, identity.key)
        except AlreadyKept:
            kept = compare(archive, identity.key, sealed, len(self._meta))
        else:
            self._mark = partial(outbox.kept, intent)
            return Answer(Status.SUCCESS, "stored")
        # The key was taken, perhaps a moment ago: nothing was replaced.
        if kept is not None:
            if kept.sha256 != sealed.sha256:
                outbox.cancel(intent)
                intent = self._promise(kept, identity)
            self._mark = partial(outbox.kept, intent)
            self._service.archive.discard(sealed)
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
        record = facts.stored(
            identity,
            sealed,
            self._request,
            self._sender,
            patient_id=self._identifiers.patient_id,
            received_at=self._received_at,
        )
        return self._service.outbox.intend(sealed, identity.key, [record])

    def _quarantine(self, sealed: Sealed, identity: InstanceIdentity) -> None:
        key = f"quarantine/{identity.key.removesuffix('.dcm')}.{sealed.sha256}.dcm"
        try:
            self._service.archive.keep(sealed, key)
        except AlreadyKept:  # the same again
            self._service.archive.discard(sealed)

    def _note(self, records: list[Record]) -> None:
        try:
            self._service.outbox.note(records)
        except (JournalUnavailable, ValueError):
            # The answer stands: this event only reports it.
            _log.warning("an event was not noted")

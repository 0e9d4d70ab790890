"""One C-STORE: from the first fragment of the data set to an honest status.

0x0000 is answered only when the file and the promise to tell Kafka of it are
durable (DECISIONS.md, "0x0000 means durable"): seal, intend, keep, then answer.
The statuses are those of PS3.4 Table B.2-1 and PS3.7 §9.1.1.1.9.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import Final

from pacsless.archive import AlreadyKept, Archive, Incoming, Sealed
from pacsless.codec import now, to_record
from pacsless.dicom.part10 import file_meta
from pacsless.dicom.scan import Identifiers, ScanError, scan
from pacsless.events import Event, InstanceReceived, InstanceStored
from pacsless.identity import InstanceIdentity, valid_uid
from pacsless.outbox import Intent, JournalUnavailable, Outbox
from scp_gateway.answers import Answer, Refused, Request, Sender, Status, refusal, uid_or_nothing
from scp_gateway.same import compare

SOURCE: Final = "/scp-gateway"
_log = logging.getLogger(__name__)


class StorageService:
    """What all receptions share.

    Parameters
    ----------
    archive, outbox
        Where files and promises go.
    on_answer
        Told of every answer and the bytes received, for the metrics.
    """

    def __init__(
        self, archive: Archive, outbox: Outbox, on_answer: Callable[[Answer, int], None]
    ) -> None:
        self.archive = archive
        self.outbox = outbox
        self.on_answer = on_answer

    def begin(self, request: Request, sender: Sender) -> Reception:
        """Start receiving a data set."""
        return Reception(self, request, sender)


class Reception:
    """A data set on its way into the archive.

    Nothing raises: what goes wrong is kept for the answer, and the rest of the
    data set is read past, because a sender listens only when it has sent all.
    """

    def __init__(self, service: StorageService, request: Request, sender: Sender) -> None:
        self._service = service
        self._request = request
        self._sender = sender
        self._started = time.monotonic()
        self._received_at = now()
        self._bytes = 0
        self._meta = b""
        self._incoming: Incoming | None = None
        self._identifiers = Identifiers("", "", "", "", "")
        self._failure: Exception | None = None
        try:
            self._open()
        except Exception as error:  # noqa: BLE001  # answered, and logged then
            self._failure = error

    def _open(self) -> None:
        request = self._request
        if self._service.outbox.is_full:
            raise Refused(Status.OUT_OF_RESOURCES, "disk-full", "the disk is above its mark")
        valid_uid(request.sop_class_uid, "Affected SOP Class UID")
        valid_uid(request.sop_instance_uid, "Affected SOP Instance UID")
        if request.sop_class_uid != request.abstract_syntax:
            raise Refused(
                Status.DOES_NOT_MATCH, "sop-class", "not the SOP Class of the presentation context"
            )
        self._meta = file_meta(
            request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax
        )
        self._incoming = self._service.archive.incoming()
        self._incoming.write(self._meta)

    def write(self, fragment: bytes | memoryview) -> None:
        """Take the next fragment of the data set."""
        self._bytes += len(fragment)
        if self._incoming is None or self._failure is not None:
            return
        try:
            self._incoming.write(fragment)
        except Exception as error:  # noqa: BLE001  # answered, and logged then
            self._failure = error
            self.abandon()

    def abandon(self) -> None:
        """Forget what was received."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            try:
                incoming.__exit__(None, None, None)
            except OSError:
                # Closing writes what is buffered, and a full disk says so again.
                _log.info("what was received could not be flushed; it is not needed")

    def finish(self) -> Answer:
        """Store what was received, and say what to answer."""
        try:
            answer = self._store()
        except Exception as error:  # noqa: BLE001  # whatever it is, the sender gets a status
            answer = refusal(error)
            bug = answer.status is Status.PROCESSING_FAILURE
            _log.log(
                logging.ERROR if bug else logging.WARNING,
                "instance refused",
                extra={
                    "fields": {
                        "status": f"{answer.status:04X}",
                        "reason": answer.reason,
                        "tenant": self._sender.tenant_id,
                        "calling": self._sender.calling_ae_title,
                        "instance": uid_or_nothing(self._request.sop_instance_uid),
                    }
                },
                exc_info=error if bug else None,
            )
        finally:
            self.abandon()
        self._note(self._received(answer))
        self._service.on_answer(answer, self._bytes)
        return answer

    def _store(self) -> Answer:
        if self._failure is not None:
            raise self._failure
        assert self._incoming is not None
        sealed = self._incoming.seal()
        self._incoming = None
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
            self._discard(sealed)
            raise

    def _scan(self, sealed: Sealed) -> Identifiers:
        path = self._service.archive.sealed(sealed.name)
        assert path is not None
        with open(path, "rb") as file:
            file.seek(len(self._meta))
            found = scan(file, self._request.transfer_syntax)
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
        try:
            archive.keep(sealed, identity.key)
        except AlreadyKept:
            pass
        except BaseException:
            outbox.cancel(intent)
            raise
        else:
            outbox.kept(intent)
            return Answer(Status.SUCCESS, "stored")
        # The key was taken, perhaps a moment ago: nothing was replaced.
        try:
            kept = compare(archive, identity.key, sealed, len(self._meta))
        except BaseException:
            outbox.cancel(intent)
            raise
        if kept is not None and kept.sha256 == sealed.sha256:
            self._discard(sealed)
            outbox.kept(intent)
            return Answer(Status.SUCCESS, "duplicate")
        outbox.cancel(intent)
        if kept is not None:
            outbox.kept(self._promise(kept, identity))
            self._discard(sealed)
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
        stored = self._stored(identity, sealed.size, sealed.sha256)
        record = to_record(stored, SOURCE, self._received_at)
        return self._service.outbox.intend(sealed, identity.key, [record])

    def _quarantine(self, sealed: Sealed, identity: InstanceIdentity) -> None:
        key = f"quarantine/{identity.key.removesuffix('.dcm')}.{sealed.sha256}.dcm"
        try:
            self._service.archive.keep(sealed, key)
        except AlreadyKept:  # the same again
            self._discard(sealed)

    def _discard(self, sealed: Sealed) -> None:
        try:
            self._service.archive.discard(sealed)
        except OSError:
            _log.warning("a file without a key was left to the sweep")

    def _stored(self, identity: InstanceIdentity, size: int, sha256: str) -> InstanceStored:
        return InstanceStored(
            tenant_id=identity.tenant_id,
            study_instance_uid=identity.study_instance_uid,
            series_instance_uid=identity.series_instance_uid,
            sop_instance_uid=identity.sop_instance_uid,
            transfer_syntax=self._request.transfer_syntax,
            patient_id=self._identifiers.patient_id,
            file_name=f"{identity.sop_instance_uid}.dcm",
            file_size=size,
            file_path=identity.key,
            sha256=sha256,
            received_at=self._received_at,
            via="C-STORE",
            calling_ae_title=self._sender.calling_ae_title,
            called_ae_title=self._sender.called_ae_title,
            remote_address=self._sender.remote_address,
        )

    def _received(self, answer: Answer) -> InstanceReceived:
        return InstanceReceived(
            tenant_id=self._sender.tenant_id,
            attempt_id=str(uuid.uuid4()),
            study_instance_uid=uid_or_nothing(self._identifiers.study_instance_uid),
            series_instance_uid=uid_or_nothing(self._identifiers.series_instance_uid),
            sop_instance_uid=uid_or_nothing(self._request.sop_instance_uid),
            sop_class_uid=uid_or_nothing(self._request.sop_class_uid),
            transfer_syntax=self._request.transfer_syntax,
            status=int(answer.status),
            outcome=answer.outcome,
            reason=answer.reason,
            file_size=len(self._meta) + self._bytes,
            duration_ms=round((time.monotonic() - self._started) * 1000, 3),
            received_at=self._received_at,
            via="C-STORE",
            calling_ae_title=self._sender.calling_ae_title,
            called_ae_title=self._sender.called_ae_title,
            remote_address=self._sender.remote_address,
        )

    def _note(self, event: Event) -> None:
        try:
            self._service.outbox.note([to_record(event, SOURCE)])
        except JournalUnavailable:
            # The answer stands: this event only reports it.
            _log.warning("an event was not noted", extra={"fields": {"type": event.TYPE}})

"""What is told of an instance: its events."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pacsless.archive import Sealed
from pacsless.codec import Record, to_record
from pacsless.events import InstanceReceived, InstanceStored
from pacsless.identity import InstanceIdentity
from pacsless.storage.answers import Answer, uid_or_nothing

if TYPE_CHECKING:
    from pacsless.storage.reception import Reception


def stored(
    reception: Reception, identity: InstanceIdentity, sealed: Sealed, *, received_at: str
) -> Record:
    """Record of an instance that has its key."""
    event = InstanceStored(
        tenant_id=identity.tenant_id,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        sop_instance_uid=identity.sop_instance_uid,
        transfer_syntax=reception.transfer_syntax,
        patient_id=reception.identifiers.patient_id,
        file_name=f"{identity.sop_instance_uid}.dcm",
        file_size=sealed.size,
        file_path=identity.key,
        sha256=sealed.sha256,
        received_at=received_at,
        via=reception.VIA,
        calling_ae_title=reception.sender.calling_ae_title,
        called_ae_title=reception.sender.called_ae_title,
        remote_address=reception.sender.remote_address,
    )
    return to_record(event, reception.SOURCE, received_at)


def received(
    reception: Reception,
    answer: Answer,
    *,
    file_size: int,
    seconds: float,
    received_at: str,
) -> Record:
    """Record of an attempt, whatever became of it."""
    identifiers = reception.identifiers
    event = InstanceReceived(
        tenant_id=reception.sender.tenant_id,
        attempt_id=str(uuid.uuid4()),
        study_instance_uid=uid_or_nothing(identifiers.study_instance_uid),
        series_instance_uid=uid_or_nothing(identifiers.series_instance_uid),
        sop_instance_uid=uid_or_nothing(reception.sop_instance_uid),
        sop_class_uid=uid_or_nothing(reception.sop_class_uid),
        transfer_syntax=uid_or_nothing(reception.transfer_syntax),
        status=int(answer.status),
        outcome=answer.outcome,
        reason=answer.reason,
        file_size=file_size,
        duration_ms=round(seconds * 1000, 3),
        received_at=received_at,
        via=reception.VIA,
        calling_ae_title=reception.sender.calling_ae_title,
        called_ae_title=reception.sender.called_ae_title,
        remote_address=reception.sender.remote_address,
    )
    return to_record(event, reception.SOURCE)

"""What the gateway tells of an instance: its events."""

from __future__ import annotations

import uuid
from typing import Final

from pacsless.archive import Sealed
from pacsless.codec import Record, to_record
from pacsless.dicom.scan import Identifiers
from pacsless.events import InstanceReceived, InstanceStored
from pacsless.identity import InstanceIdentity
from scp_gateway.answers import Answer, Request, Sender, uid_or_nothing

SOURCE: Final = "/scp-gateway"
_VIA: Final = "C-STORE"


def stored(
    identity: InstanceIdentity,
    sealed: Sealed,
    request: Request,
    sender: Sender,
    *,
    patient_id: str,
    received_at: str,
) -> Record:
    """Record of an instance that has its key."""
    event = InstanceStored(
        tenant_id=identity.tenant_id,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        sop_instance_uid=identity.sop_instance_uid,
        transfer_syntax=request.transfer_syntax,
        patient_id=patient_id,
        file_name=f"{identity.sop_instance_uid}.dcm",
        file_size=sealed.size,
        file_path=identity.key,
        sha256=sealed.sha256,
        received_at=received_at,
        via=_VIA,
        calling_ae_title=sender.calling_ae_title,
        called_ae_title=sender.called_ae_title,
        remote_address=sender.remote_address,
    )
    return to_record(event, SOURCE, received_at)


def received(
    request: Request,
    sender: Sender,
    identifiers: Identifiers,
    answer: Answer,
    *,
    file_size: int,
    seconds: float,
    received_at: str,
) -> Record:
    """Record of an attempt, whatever became of it."""
    event = InstanceReceived(
        tenant_id=sender.tenant_id,
        attempt_id=str(uuid.uuid4()),
        study_instance_uid=uid_or_nothing(identifiers.study_instance_uid),
        series_instance_uid=uid_or_nothing(identifiers.series_instance_uid),
        sop_instance_uid=uid_or_nothing(request.sop_instance_uid),
        sop_class_uid=uid_or_nothing(request.sop_class_uid),
        transfer_syntax=request.transfer_syntax,
        status=int(answer.status),
        outcome=answer.outcome,
        reason=answer.reason,
        file_size=file_size,
        duration_ms=round(seconds * 1000, 3),
        received_at=received_at,
        via=_VIA,
        calling_ae_title=sender.calling_ae_title,
        called_ae_title=sender.called_ae_title,
        remote_address=sender.remote_address,
    )
    return to_record(event, SOURCE)

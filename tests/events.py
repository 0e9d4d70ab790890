"""One example of every event, as the parts emit them."""

from __future__ import annotations

from typing import Any

from pacsless.events import EVENTS, Event

_INSTANCE = {
    "tenant_id": "default",
    "study_instance_uid": "1.2.3",
    "series_instance_uid": "1.2.3.4",
    "sop_instance_uid": "1.2.3.4.5",
}
_SHA = "ab" * 32
_TIME = "2026-11-23T08:00:00.000001Z"
_SOURCE = {
    "via": "C-STORE",
    "calling_ae_title": "CT_SCANNER",
    "called_ae_title": "PACSLESS",
    "remote_address": "127.0.0.1",
}


def access(request_id: str, **changes: Any) -> dict[str, Any]:
    """One of the accesses of an `AccessesLogged`."""
    return {
        "RequestID": request_id,
        "AccessedAt": _TIME,
        "Method": "GET",
        "Route": "retrieve_instance",
        "Path": "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.5",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "SopInstanceUID": "1.2.3.4.5",
        "Status": 200,
        "BytesSent": 526_336,
        "DurationMs": 0.9,
        "RemoteAddress": "127.0.0.1",
        "UserAgent": "OHIF",
        "UserID": "",
        **changes,
    }


_VALUES: dict[str, dict[str, Any]] = {
    "instance.stored.v1": {
        **_INSTANCE,
        **_SOURCE,
        "transfer_syntax": "1.2.840.10008.1.2.1",
        "patient_id": "",
        "file_name": "1.2.3.4.5.dcm",
        "file_size": 526_336,
        "file_path": "default/1.2.3/1.2.3.4/1.2.3.4.5.dcm",
        "sha256": _SHA,
        "received_at": _TIME,
    },
    "instance.deleted.v1": {
        **_INSTANCE,
        "file_size": 526_336,
        "received_at": _TIME,
        "deleted_at": "2026-11-24T08:00:00.000001Z",
        "deleted_by": "ann",
        "remote_address": "127.0.0.1",
    },
    "instance.received.v1": {
        **_INSTANCE,
        **_SOURCE,
        "attempt_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "transfer_syntax": "1.2.840.10008.1.2.1",
        "status": 0,
        "outcome": "stored",
        "reason": "",
        "file_size": 526_336,
        "duration_ms": 3.25,
        "received_at": _TIME,
    },
    "series.revised.v1": {
        "tenant_id": "default",
        "study_instance_uid": "1.2.3",
        "series_instance_uid": "1.2.3.4",
        "revision": 9,
        "study_revision": 9,
        "updated_at": _TIME,
        "number_of_series_related_instances": 1,
        "number_of_study_related_series": 2,
        "number_of_study_related_instances": 3,
        "series_bytes": 526_336,
        "study_bytes": 1_579_008,
        "patient": {"PatientID": "", "PatientName": "王^小东"},
        "study": {"StudyDate": "20200101"},
        "series": {"Modality": "CT"},
    },
    "instance.indexed.v1": {
        **_INSTANCE,
        "revision": 7,
        "sha256": _SHA,
        "created_date": "2026-11-23",
        "received_at": _TIME,
        "transfer_syntax": "1.2.840.10008.1.2.1",
        "file_size": 526_336,
        "dicom_json": {"00280010": {"vr": "US", "Value": [512]}},
    },
    "instance.unindexed.v1": {
        **_INSTANCE,
        "revision": 8,
        "created_date": "2026-11-23",
        "received_at": _TIME,
    },
    "instance.conversion-requested.v1": {
        **_INSTANCE,
        "sha256": _SHA,
        "transfer_syntax": "1.2.840.10008.1.2.2",
        "target_transfer_syntax": "1.2.840.10008.1.2.1",
        "reason": "big-endian",
    },
    "instance.converted.v1": {
        **_INSTANCE,
        "sha256": _SHA,
        "transfer_syntax": "1.2.840.10008.1.2.2",
        "target_transfer_syntax": "1.2.840.10008.1.2.1",
        "rendition_path": "renditions/default/1.2.3/1.2.3.4/1.2.3.4.5/1.2.840.10008.1.2.1.dcm",
        "rendition_size": 526_336,
        "rendition_sha256": _SHA,
        "converted_at": _TIME,
        "duration_ms": 12.5,
    },
    "instance.frame-index-requested.v1": {**_INSTANCE, "sha256": _SHA},
    "instance.conversion-failed.v1": {
        **_INSTANCE,
        "sha256": _SHA,
        "transfer_syntax": "1.2.840.10008.1.2.1.99",
        "target_transfer_syntax": "1.2.840.10008.1.2.1",
        "stage": "parse",
        "error_code": "inflate-limit",
        "error_text": "the data set inflates beyond the limit",
        "failed_at": _TIME,
    },
    "access.logged.v1": {
        **_INSTANCE,
        "request_id": "f3a1",
        "accessed_at": _TIME,
        "method": "GET",
        "route": "retrieve_instance",
        "path": "/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.5",
        "status": 200,
        "bytes_sent": 526_336,
        "duration_ms": 0.9,
        "remote_address": "127.0.0.1",
        "user_agent": "OHIF",
    },
    "accesses.logged.v1": {
        "tenant_id": "default",
        "study_instance_uid": "",
        "accesses": [access("f3a2"), access("f3a3")],
    },
}

EXAMPLES: dict[str, Event] = {
    kind: EVENTS[kind](**_VALUES[kind.removeprefix("org.pacsless.")]) for kind in EVENTS
}

"""From events to the rows of the warehouse, and the loads they make up: pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from functions.load_doris.values import (
    Row,
    attributes,
    cut,
    document,
    ingest_date,
    microseconds,
    texts,
    time,
)
from pacsless.columns import (
    ACCESS_LOG,
    CONVERSION_FAILURE,
    IMAGE,
    RECEIVE_LOG,
    STATE,
    Table,
)
from pacsless.errors import Unprocessable
from pacsless.events import (
    AccessesLogged,
    AccessLogged,
    Event,
    InstanceConversionFailed,
    InstanceConverted,
    InstanceIndexed,
    InstanceReceived,
    InstanceUnindexed,
    Json,
    SeriesRevised,
    data_name,
)

if TYPE_CHECKING:
    from pacsless.codec import Delivered


_TEXTS_OF_ACCESSES: Final = tuple(
    (data_name(name), name, ACCESS_LOG.column(name).length or 1)
    for name in (
        "method",
        "route",
        "path",
        "study_instance_uid",
        "series_instance_uid",
        "sop_instance_uid",
        "remote_address",
        "user_agent",
        "user_id",
    )
)
"""Name in the event, column, and how many bytes it takes."""


@dataclass(frozen=True, slots=True)
class Load:
    """Rows of one table, and the label that names exactly them."""

    table: str
    rows: list[Row]
    label: str


def loads(batch: Sequence[Delivered[Event]]) -> list[Load]:
    """Group a batch into one load per table.

    The label repeats when the same batch is delivered again, and no other has it:
    it is of events and not of offsets alone, which count from 0 again once a topic
    is made anew; Doris would take the new rows for loaded.

    Raises
    ------
    Unprocessable
        If an event has a key or a time that cannot be one.
    """
    rows: dict[str, list[Row]] = {}
    sources: dict[str, list[Delivered[Event]]] = {}
    for one in batch:
        for table, row in rows_of(one.event):
            rows.setdefault(table.name, []).append(row)
            known = sources.setdefault(table.name, [])
            if not known or known[-1] is not one:
                known.append(one)
    return [Load(name, found, label(name, sources[name])) for name, found in rows.items()]


def label(table: str, sources: Sequence[Delivered[Event]]) -> str:
    """Name a load: readable where it came from, then a hash of what it is."""
    hashed = hashlib.sha256(table.encode())
    ranges: dict[tuple[str, int], tuple[int, int]] = {}
    for one in sources:
        first, last = ranges.get((one.topic, one.partition), (one.offset, one.offset))
        ranges[one.topic, one.partition] = min(first, one.offset), max(last, one.offset)
        name = (one.topic, one.partition, one.offset, one.event.id, one.time)
        hashed.update(repr(name).encode())
    (topic, partition), (first, last) = next(iter(ranges.items()))
    where = f"{partition}-{first}-{last}" if len(ranges) == 1 else f"{len(ranges)}partitions"
    readable = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in topic)
    return f"{table[:30]}-{readable[:30]}-{where[:30]}-{hashed.hexdigest()[:32]}"


def rows_of(event: Event) -> Iterable[tuple[Table, Row]]:
    """The rows an event becomes."""
    match event:
        case SeriesRevised():
            # The study was updated when its newest series was: another's event names
            # the same revision of the study, and an older time.
            newest = event.revision == event.study_revision
            if (
                not event.number_of_series_related_instances
                and event.number_of_study_related_series
            ):
                newest = False  # of a study that has other series, theirs tell
            return [(STATE, _series(event)), *([(STATE, _study(event))] if newest else [])]
        case InstanceIndexed():
            return [(IMAGE, _image(event))]
        case InstanceUnindexed():
            return [(IMAGE, _deleted(event))]
        case InstanceReceived():
            return [(RECEIVE_LOG, _received(event))]
        case AccessLogged():
            return [(ACCESS_LOG, _accessed(event.tenant_id, event.data()))]
        case AccessesLogged():
            return [(ACCESS_LOG, _accessed(event.tenant_id, one)) for one in event.accesses]
        case InstanceConversionFailed() | InstanceConverted():
            return [(CONVERSION_FAILURE, _conversion(event))]
    raise Unprocessable("unexpected-type", f"{event.TYPE} has no table in the warehouse")


def _series(event: SeriesRevised) -> Row:
    values = {
        **event.patient,
        **event.study,
        **event.series,
        "NumberOfSeriesRelatedInstances": event.number_of_series_related_instances,
    }
    return attributes(STATE, values) | {
        "tenant_id": event.tenant_id,
        "study_instance_uid": event.study_instance_uid,
        "series_instance_uid": event.series_instance_uid,
        "event_seq": event.revision,
        "query_retrieve_level": "SERIES",
        "updated_at": time(event.updated_at),
        "size_bytes": event.series_bytes,
        "is_deleted": not event.number_of_series_related_instances,
    }


def _study(event: SeriesRevised) -> Row:
    values = {
        **event.patient,
        **event.study,
        "NumberOfStudyRelatedSeries": event.number_of_study_related_series,
        "NumberOfStudyRelatedInstances": event.number_of_study_related_instances,
    }
    return attributes(STATE, values) | {
        "tenant_id": event.tenant_id,
        "study_instance_uid": event.study_instance_uid,
        "series_instance_uid": "",
        "event_seq": event.study_revision,
        "query_retrieve_level": "STUDY",
        "updated_at": time(event.updated_at),
        "size_bytes": event.study_bytes,
        "is_deleted": not event.number_of_study_related_instances,
    }


def _image(event: InstanceIndexed) -> Row:
    values = {
        column.keyword: element.get("Value")
        for column in IMAGE.columns
        if isinstance(element := event.dicom_json.get(column.tag), dict)
    }
    return attributes(IMAGE, values) | {
        "created_date": ingest_date(event.created_date),
        "tenant_id": event.tenant_id,
        "study_instance_uid": event.study_instance_uid,
        "series_instance_uid": event.series_instance_uid,
        "sop_instance_uid": event.sop_instance_uid,
        "event_seq": event.revision,
        "transfer_syntax_uid": cut(event.transfer_syntax, 64),
        "size_bytes": event.file_size,
        "sha256": cut(event.sha256, 64),
        "received_at": time(event.received_at),
        "dicom_json": document(event.dicom_json),
        "is_deleted": False,
    }


def _deleted(event: InstanceUnindexed) -> Row:
    """A row with nothing of the instance but its name, so that an older event cannot revive it."""
    return attributes(IMAGE, {}) | {
        "created_date": ingest_date(event.created_date),
        "tenant_id": event.tenant_id,
        "study_instance_uid": event.study_instance_uid,
        "series_instance_uid": event.series_instance_uid,
        "sop_instance_uid": event.sop_instance_uid,
        "event_seq": event.revision,
        "transfer_syntax_uid": None,
        "size_bytes": None,
        "sha256": None,
        "received_at": time(event.received_at),
        "dicom_json": None,
        "is_deleted": True,
    }


def _received(event: InstanceReceived) -> Row:
    received_at = time(event.received_at)
    return {
        "received_date": received_at[:10],
        "tenant_id": event.tenant_id,
        "event_id": event.id,
        "received_at": received_at,
        "transfer_syntax_uid": cut(event.transfer_syntax, 64),
        "status": event.status,
        "size_bytes": event.file_size,
        "duration_ms": event.duration_ms,
        **texts(
            RECEIVE_LOG,
            event,
            "attempt_id study_instance_uid series_instance_uid sop_instance_uid sop_class_uid "
            "outcome reason via calling_ae_title called_ae_title remote_address",
        ),
    }


def _accessed(tenant_id: str, access: Json) -> Row:
    accessed_at = time(access["AccessedAt"])
    request_id = access["RequestID"]
    if not 0 < len(request_id.encode("utf-8", "replace")) <= 64:
        raise Unprocessable("schema", "RequestID of an access is not 1 to 64 bytes long")
    row: Row = {
        "accessed_date": accessed_at[:10],
        "tenant_id": tenant_id,
        "request_id": request_id,
        "accessed_at": accessed_at,
        "status": access["Status"],
        "bytes_sent": access["BytesSent"],
        "duration_ms": access["DurationMs"],
    }
    for name, column, limit in _TEXTS_OF_ACCESSES:
        row[column] = cut(access[name], limit)
    return row


def _conversion(event: InstanceConversionFailed | InstanceConverted) -> Row:
    failed = isinstance(event, InstanceConversionFailed)
    at = event.failed_at if isinstance(event, InstanceConversionFailed) else event.converted_at
    row: Row = {
        "tenant_id": event.tenant_id,
        "study_instance_uid": event.study_instance_uid,
        "series_instance_uid": event.series_instance_uid,
        "sop_instance_uid": event.sop_instance_uid,
        "target_transfer_syntax_uid": event.target_transfer_syntax,
        "event_seq": microseconds(at),
        "transfer_syntax_uid": cut(event.transfer_syntax, 64),
        "sha256": cut(event.sha256, 64),
        "failed_at" if failed else "resolved_at": time(at),
    }
    if isinstance(event, InstanceConversionFailed):
        return row | texts(CONVERSION_FAILURE, event, "stage error_code error_text")
    return row | {"duration_ms": event.duration_ms}

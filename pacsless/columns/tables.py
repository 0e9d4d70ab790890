"""The tables themselves."""

from __future__ import annotations

from typing import Final

from pacsless.columns.model import SEQUENCE, Column, Table, snake_case

# PS3.5 Table 6.2-1 limits characters; a character is up to four bytes of UTF-8.
_TYPE_OF_VR: Final = {
    "AE": "VARCHAR(64)", "AS": "VARCHAR(16)", "CS": "VARCHAR(64)", "DA": "DATE",
    "DS": "DOUBLE", "IS": "INT", "LO": "VARCHAR(256)", "PN": "VARCHAR(1024)",
    "SH": "VARCHAR(64)", "TM": "VARCHAR(32)", "UI": "VARCHAR(64)", "US": "INT",
}  # fmt: skip


def _attribute(tag: str, vr: str, keyword: str, note: str = "", type_: str = "") -> Column:
    label = f"({tag[:4]},{tag[4:]}) {vr}"
    return Column(
        snake_case(keyword),
        type_ or _TYPE_OF_VR[vr],
        f"{keyword} {label}{'; ' + note if note else ''}",
        keyword=keyword,
        tag=tag,
        vr=vr,
    )


def _uid(keyword: str, description: str, *, key: bool = False) -> Column:
    default = "" if keyword == "SeriesInstanceUID" and key else None
    return Column(snake_case(keyword), "VARCHAR(64)", description, not key, default)


_TENANT: Final = Column("tenant_id", "VARCHAR(64)", "whose data it is", nullable=False)
_STUDY: Final = _uid("StudyInstanceUID", "(0020,000D) UI", key=True)
_SERIES: Final = Column("series_instance_uid", "VARCHAR(64)", "(0020,000E) UI", nullable=False)
_SOP: Final = _uid("SOPInstanceUID", "(0008,0018) UI", key=True)
_DELETED: Final = Column(
    "is_deleted", "BOOLEAN", "tombstone: a deleted row stays, so an old event cannot revive it",
    nullable=False, default="0",
)  # fmt: skip


def _sequence(description: str) -> Column:
    return Column(SEQUENCE, "BIGINT", description, nullable=False)


def _as_received(keyword: str) -> Column:
    return _uid(keyword, "as received; may be empty or no valid UID")


STATE: Final = Table(
    name="dicom_state_meta",
    description="patient, study and series as they are now: a row per series and a row per study",
    key=("tenant_id", "study_instance_uid", "series_instance_uid"),
    columns=(
        _TENANT,
        _STUDY,
        _uid("SeriesInstanceUID", "(0020,000E) UI; empty in the row of a study", key=True),
        _sequence("revision of the series, or of the study in the row of a study"),
        Column("query_retrieve_level", "VARCHAR(16)", "STUDY or SERIES (PS3.4 C.6)", False),
        Column("updated_at", "DATETIME(6)", "UTC, of the newest change", nullable=False),
        _attribute("00100020", "LO", "PatientID"),
        _attribute("00100021", "LO", "IssuerOfPatientID"),
        _attribute("00100010", "PN", "PatientName", "component groups as in PS3.5 6.2"),
        _attribute("00100030", "DA", "PatientBirthDate"),
        _attribute("00100040", "CS", "PatientSex"),
        _attribute("00101010", "AS", "PatientAge"),
        _attribute("00101020", "DS", "PatientSize"),
        _attribute("00101030", "DS", "PatientWeight"),
        _attribute("00080020", "DA", "StudyDate"),
        _attribute("00080030", "TM", "StudyTime"),
        _attribute("00080050", "SH", "AccessionNumber"),
        _attribute("00200010", "SH", "StudyID"),
        _attribute("00081030", "LO", "StudyDescription"),
        _attribute("00080090", "PN", "ReferringPhysicianName"),
        _attribute("00080080", "LO", "InstitutionName"),
        _attribute("00080060", "CS", "Modality"),
        _attribute("00200011", "IS", "SeriesNumber"),
        _attribute("00080021", "DA", "SeriesDate"),
        _attribute("00080031", "TM", "SeriesTime"),
        _attribute("0008103E", "LO", "SeriesDescription"),
        _attribute("00180015", "CS", "BodyPartExamined"),
        _attribute("00181030", "LO", "ProtocolName"),
        _attribute("00080070", "LO", "Manufacturer"),
        _attribute("00081090", "LO", "ManufacturerModelName"),
        _attribute("00081010", "SH", "StationName"),
        _attribute("00201206", "IS", "NumberOfStudyRelatedSeries", "row of a study"),
        _attribute("00201208", "IS", "NumberOfStudyRelatedInstances", "row of a study"),
        _attribute("00201209", "IS", "NumberOfSeriesRelatedInstances", "row of a series"),
        Column("size_bytes", "BIGINT", "bytes of the originals of the study or the series"),
        _DELETED,
    ),
    distribution="study_instance_uid",
    buckets=8,
    indexes=("patient_id", "study_date", "accession_number", "modality"),
    # Point reads of one series or study, by the full key.
    properties=(("store_row_column", "true"),),
)

IMAGE: Final = Table(
    name="dicom_image_meta",
    description="an instance: typed columns for what is asked often, dicom_json for the rest",
    key=("created_date", "tenant_id", "study_instance_uid", "series_instance_uid",
         "sop_instance_uid"),
    columns=(
        Column("created_date", "DATE", "first ingest, UTC; immutable, so it can partition", False),
        _TENANT,
        _STUDY,
        _SERIES,
        _SOP,
        _sequence("revision of the instance"),
        _attribute("00080016", "UI", "SOPClassUID"),
        Column("transfer_syntax_uid", "VARCHAR(64)", "of the original (0002,0010)"),
        Column("size_bytes", "BIGINT", "bytes of the original"),
        Column("sha256", "VARCHAR(64)", "of the original"),
        Column("received_at", "DATETIME(6)", "UTC", nullable=False),
        _attribute("00080060", "CS", "Modality"),
        _attribute("00200013", "IS", "InstanceNumber"),
        _attribute("00200012", "IS", "AcquisitionNumber"),
        _attribute("00080008", "CS", "ImageType", "joined by backslash", "VARCHAR(256)"),
        _attribute("00080022", "DA", "AcquisitionDate"),
        _attribute("00080032", "TM", "AcquisitionTime"),
        _attribute("00080023", "DA", "ContentDate"),
        _attribute("00080033", "TM", "ContentTime"),
        _attribute("00280010", "US", "Rows"),
        _attribute("00280011", "US", "Columns"),
        _attribute("00280008", "IS", "NumberOfFrames"),
        _attribute("00280002", "US", "SamplesPerPixel"),
        _attribute("00280004", "CS", "PhotometricInterpretation"),
        _attribute("00280100", "US", "BitsAllocated"),
        _attribute("00280101", "US", "BitsStored"),
        _attribute("00280102", "US", "HighBit"),
        _attribute("00280103", "US", "PixelRepresentation"),
        _attribute("00280030", "DS", "PixelSpacing", "joined by backslash", "VARCHAR(64)"),
        _attribute("00200032", "DS", "ImagePositionPatient", "joined by backslash",
                   "VARCHAR(128)"),
        _attribute("00200037", "DS", "ImageOrientationPatient", "joined by backslash",
                   "VARCHAR(192)"),
        _attribute("00200052", "UI", "FrameOfReferenceUID"),
        _attribute("00180050", "DS", "SliceThickness"),
        _attribute("00180088", "DS", "SpacingBetweenSlices"),
        _attribute("00201041", "DS", "SliceLocation"),
        _attribute("00281052", "DS", "RescaleIntercept"),
        _attribute("00281053", "DS", "RescaleSlope"),
        _attribute("00281054", "LO", "RescaleType"),
        _attribute("00281050", "DS", "WindowCenter", "first value"),
        _attribute("00281051", "DS", "WindowWidth", "first value"),
        _attribute("00180060", "DS", "KVP"),
        _attribute("00181210", "SH", "ConvolutionKernel", "joined by backslash", "VARCHAR(256)"),
        _attribute("00280301", "CS", "BurnedInAnnotation"),
        _attribute("00282110", "CS", "LossyImageCompression"),
        Column("dicom_json", "JSON",
               "DICOM JSON Model (PS3.18 Annex F); NULL if above Doris's 1 MiB for a JSON value"),
        _DELETED,
    ),
    distribution="study_instance_uid",
    buckets=16,
    partition="created_date",
    indexes=("sop_instance_uid", "study_instance_uid", "modality"),
    properties=(("compression", "ZSTD"),),
)  # fmt: skip

RECEIVE_LOG: Final = Table(
    name="dicom_receive_log",
    description="an attempt to store an instance, and what the sender was told",
    key=("received_date", "tenant_id", "event_id"),
    columns=(
        Column("received_date", "DATE", "date of received_at", nullable=False),
        _TENANT,
        Column("event_id", "VARCHAR(64)", "CloudEvents id, the same in every replay", False),
        Column("attempt_id", "VARCHAR(64)", "UUID of the attempt, as in the gateway's log"),
        Column("received_at", "DATETIME(6)", "UTC", nullable=False),
        _as_received("StudyInstanceUID"),
        _as_received("SeriesInstanceUID"),
        _as_received("SOPInstanceUID"),
        _as_received("SOPClassUID"),
        Column("transfer_syntax_uid", "VARCHAR(64)", "of the data set as received"),
        Column("status", "INT", "DIMSE status (PS3.7 Annex C) or HTTP status", nullable=False),
        Column("outcome", "VARCHAR(32)", "stored, duplicate, quarantined or refused", False),
        Column("reason", "VARCHAR(128)", "error code; empty if stored"),
        Column("size_bytes", "BIGINT", "bytes of the file"),
        Column("duration_ms", "DOUBLE", "from the request to the answer"),
        Column("via", "VARCHAR(16)", "C-STORE or STOW-RS"),
        Column("calling_ae_title", "VARCHAR(64)", "sender"),
        Column("called_ae_title", "VARCHAR(64)", "receiver"),
        Column("remote_address", "VARCHAR(64)", "address of the sender"),
    ),
    distribution="event_id",
    buckets=4,
    partition="received_date",
    sequence=None,
    indexes=("study_instance_uid", "sop_instance_uid"),
)

# DUPLICATE KEY would load faster, but keeps a row for every delivery: labels stop
# repeats for 12 hours or 2,000 loads only, and a replay of the topic comes later
# than that. With a unique key, audits count requests and not deliveries.
ACCESS_LOG: Final = Table(
    name="wado_access_log",
    description="a DICOMweb request, and what the client got",
    key=("accessed_date", "tenant_id", "request_id"),
    columns=(
        Column("accessed_date", "DATE", "date of accessed_at", nullable=False),
        _TENANT,
        Column("request_id", "VARCHAR(64)", "as in nginx's log and the response", nullable=False),
        Column("accessed_at", "DATETIME(6)", "UTC", nullable=False),
        Column("method", "VARCHAR(16)", "HTTP method"),
        Column("route", "VARCHAR(64)", "transaction and resource: retrieve_instance"),
        Column("path", "VARCHAR(1024)", "without the query, which may name a patient"),
        _as_received("StudyInstanceUID"),
        _as_received("SeriesInstanceUID"),
        _as_received("SOPInstanceUID"),
        Column("status", "INT", "HTTP status", nullable=False),
        Column("bytes_sent", "BIGINT", "bytes of the response"),
        Column("duration_ms", "DOUBLE", "until the last byte"),
        Column("remote_address", "VARCHAR(64)", "address of the client"),
        Column("user_agent", "VARCHAR(512)", "User-Agent header"),
        Column("user_id", "VARCHAR(255)", "subject of the verified access token"),
    ),
    distribution="request_id",
    buckets=4,
    partition="accessed_date",
    partition_unit="day",
    sequence=None,
    indexes=("study_instance_uid",),
)

CONVERSION_FAILURE: Final = Table(
    name="conversion_failure",
    description="latest outcome per instance and target syntax; resolved_at IS NULL: still failing",
    key=("tenant_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid",
         "target_transfer_syntax_uid"),
    columns=(
        _TENANT,
        _STUDY,
        _SERIES,
        _SOP,
        Column("target_transfer_syntax_uid", "VARCHAR(64)", "of the rendition", nullable=False),
        # One study is in one transcoder's hands at a time, so its clock orders the outcomes.
        _sequence("microseconds since 1970 of the outcome"),
        Column("transfer_syntax_uid", "VARCHAR(64)", "of the original"),
        Column("sha256", "VARCHAR(64)", "of the original"),
        Column("stage", "VARCHAR(32)", "parse, decode, convert, encode or verify"),
        Column("error_code", "VARCHAR(64)", "NULL in a row that never failed"),
        Column("error_text", "VARCHAR(2048)", "never holds patient data"),
        Column("failed_at", "DATETIME(6)", "UTC"),
        Column("resolved_at", "DATETIME(6)", "UTC, when a rendition was made"),
        Column("duration_ms", "DOUBLE", "of the conversion"),
    ),
    distribution="study_instance_uid",
    buckets=4,
    indexes=("error_code",),
)  # fmt: skip

TABLES: Final = (STATE, IMAGE, RECEIVE_LOG, ACCESS_LOG, CONVERSION_FAILURE)
"""Every table, in the order of their files."""

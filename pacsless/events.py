"""The facts that travel between the parts, and the topics they travel on.

An event is a past fact of one type and version; a breaking change makes ``.v2``
beside ``.v1``. Its ``data`` is JSON whose names are the field names below in
DICOM's spelling (``study_instance_uid`` becomes ``StudyInstanceUID``);
``schemas/events`` holds the JSON Schema of each. How an event becomes a Kafka
record or an HTTP request is `pacsless.codec`'s business.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Final, Self

from pacsless.errors import Unprocessable
from pacsless.identity import InstanceIdentity, SeriesIdentity

Json = dict[str, Any]

_WORDS: Final = {"uid": "UID", "id": "ID", "ae": "AE", "json": "JSON"}


@cache
def data_name(field: str) -> str:
    """Name of a dataclass field in an event's JSON.

    Examples
    --------
    >>> data_name("sop_instance_uid"), data_name("calling_ae_title")
    ('SopInstanceUID', 'CallingAETitle')
    """
    return "".join(_WORDS.get(word, word.capitalize()) for word in field.split("_"))


@cache
def _names(kind: type[Event]) -> tuple[str, ...]:
    return tuple(data_name(field.name) for field in fields(kind))


@cache
def _values(kind: type[Event]) -> Callable[[Event], tuple[Any, ...]]:
    return attrgetter(*(field.name for field in fields(kind)))


@cache
def _identity(kind: type[Event]) -> Callable[[Event], tuple[Any, ...]]:
    return attrgetter("TYPE", *kind.IDENTITY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(ABC):
    """What every event has.

    Subclasses state `TYPE` (the CloudEvents ``type``) and `TOPIC` (the Kafka
    topic), and name the fields that make two events the same fact in
    `IDENTITY`: the event's id is their hash, so sending a fact again repeats
    its id and nobody counts it twice.
    """

    TYPE: ClassVar[str]
    TOPIC: ClassVar[str]
    IDENTITY: ClassVar[tuple[str, ...]]

    tenant_id: str
    study_instance_uid: str
    """As the fact has it; empty where it is about no study."""

    @property
    def id(self) -> str:
        """Deterministic CloudEvents ``id``: 32 hexadecimal digits."""
        parts = map(str, _identity(type(self))(self))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    @property
    @abstractmethod
    def subject(self) -> str:
        """CloudEvents ``subject``: the DICOMweb path the fact is about."""

    @property
    def partition_key(self) -> str:
        """CloudEvents ``partitionkey`` and Kafka key: one consumer at a time has a study."""
        return f"{self.tenant_id}/{self.study_instance_uid}"

    def data(self) -> Json:
        """Return the event's JSON data."""
        kind = type(self)
        return dict(zip(_names(kind), _values(kind)(self), strict=True))

    @classmethod
    def from_data(cls, data: object) -> Self:
        """Read an event's JSON data; unknown names are ignored, as a newer producer may add some.

        Raises
        ------
        Unprocessable
            If a name is missing, a value has the wrong type, or an identifier is invalid.
        """
        if not isinstance(data, dict):
            raise Unprocessable("schema", f"data of {cls.TYPE} is not a JSON object")
        values: Json = {}
        for field in fields(cls):
            name = data_name(field.name)
            if name not in data:
                if field.default is not MISSING:
                    continue
                raise Unprocessable("schema", f"data of {cls.TYPE} lacks {name}")
            if not isinstance(data[name], _accepted(str(field.type))):
                raise Unprocessable("schema", f"{name} of {cls.TYPE} is not of type {field.type}")
            values[field.name] = data[name]
        event = cls(**values)
        event.check()
        return event

    def check(self) -> None:
        """Raise a `PacslessError` if a value is none that the event may have."""
        _ = self.subject  # validates the identifiers


@cache
def _accepted(annotation: str) -> tuple[type, ...]:
    names: dict[str, tuple[type, ...]] = {
        "str": (str,),
        "int": (int,),
        "float": (int, float),
        "None": (type(None),),
        "Json": (dict,),
        "list[Json]": (list,),
    }
    return tuple(t for part in annotation.split(" | ") for t in names[part])


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceEvent(Event):
    """A fact about one instance."""

    series_instance_uid: str
    sop_instance_uid: str

    @property
    def identity(self) -> InstanceIdentity:
        """The instance the fact is about."""
        return InstanceIdentity(
            self.tenant_id,
            self.study_instance_uid,
            self.series_instance_uid,
            self.sop_instance_uid,
        )

    @property
    def subject(self) -> str:
        return self.identity.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStored(InstanceEvent):
    """An instance is durable in the archive."""

    TYPE = "org.pacsless.instance.stored.v1"
    TOPIC = "storage_queue"
    IDENTITY = ("tenant_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid",
                "sha256")  # fmt: skip

    transfer_syntax: str
    """Transfer Syntax UID the data set is stored in."""
    patient_id: str
    """Patient ID (0010,0020) as far as it could be decoded; may be empty."""
    file_name: str
    file_size: int
    """Bytes of the stored DICOM file."""
    file_path: str
    """Archive key of the original."""
    sha256: str
    """Of the stored file, 64 hexadecimal digits."""
    received_at: str
    """ISO 8601, UTC, microseconds."""
    via: str
    """``C-STORE`` or ``STOW-RS``; ``rebuild`` if the file is announced again."""
    calling_ae_title: str
    called_ae_title: str
    remote_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDeleted(InstanceEvent):
    """Somebody had an instance deleted: its file is gone, and this is its tombstone."""

    TYPE = "org.pacsless.instance.deleted.v1"
    TOPIC = "storage_queue"
    # Of two files that an instance had one after the other, each is deleted by itself.
    IDENTITY = ("tenant_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid",
                "received_at", "file_size")  # fmt: skip

    file_size: int
    """Bytes of the file that is gone."""
    received_at: str
    """When that file was received, as the archive kept it: tells it from one sent later."""
    deleted_at: str
    deleted_by: str
    """Subject of the verified access token; empty where there is none."""
    remote_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceReceived(Event):
    """Somebody tried to store an instance, and this is what they were told.

    The identifiers are as received and may be invalid or empty, so the subject
    names the attempt and not an object.
    """

    TYPE = "org.pacsless.instance.received.v1"
    TOPIC = "log_queue"
    IDENTITY = ("tenant_id", "attempt_id")

    attempt_id: str
    """UUID of this attempt."""
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    status: int
    """DIMSE status (PS3.7 Annex C) or HTTP status."""
    outcome: str
    """``stored``, ``duplicate``, ``quarantined`` or ``refused``."""
    reason: str
    """Why not stored: an error code, empty if stored."""
    file_size: int
    duration_ms: float
    received_at: str
    via: str
    calling_ae_title: str
    called_ae_title: str
    remote_address: str

    @property
    def subject(self) -> str:
        return f"attempts/{self.attempt_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRevised(Event):
    """Patient, study and series as they are now, after instances arrived or were deleted.

    A series that has no instances any more, and a study, are described by nothing.
    """

    TYPE = "org.pacsless.series.revised.v1"
    TOPIC = "dicom_state_queue"
    IDENTITY = ("tenant_id", "study_instance_uid", "series_instance_uid", "revision")

    series_instance_uid: str
    revision: int
    """Grows with every change of the series; the warehouse's sequence column."""
    study_revision: int
    """The newest revision among the study's series."""
    updated_at: str
    number_of_series_related_instances: int
    number_of_study_related_series: int
    number_of_study_related_instances: int
    series_bytes: int
    study_bytes: int
    patient: Json
    """Patient attributes: DICOM keyword to value."""
    study: Json
    """Study attributes: DICOM keyword to value."""
    series: Json
    """Series attributes: DICOM keyword to value."""

    @property
    def identity(self) -> SeriesIdentity:
        """The series the fact is about."""
        return SeriesIdentity(self.tenant_id, self.study_instance_uid, self.series_instance_uid)

    @property
    def subject(self) -> str:
        return self.identity.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceIndexed(InstanceEvent):
    """An instance's attributes are read and indexed."""

    TYPE = "org.pacsless.instance.indexed.v1"
    TOPIC = "dicom_image_queue"
    IDENTITY = ("tenant_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid",
                "sha256", "revision")  # fmt: skip

    revision: int
    sha256: str
    created_date: str
    """Date of first ingest, ``YYYY-MM-DD``: immutable, partitions the warehouse."""
    received_at: str
    transfer_syntax: str
    file_size: int
    dicom_json: Json
    """The instance's metadata in the DICOM JSON Model (PS3.18 Annex F)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceUnindexed(InstanceEvent):
    """A deleted instance is out of the index."""

    TYPE = "org.pacsless.instance.unindexed.v1"
    TOPIC = "dicom_image_queue"
    IDENTITY = ("tenant_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid",
                "revision", "created_date")  # fmt: skip

    revision: int
    created_date: str
    """As its `InstanceIndexed` had it: where the warehouse has its row."""
    received_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConversionRequested(InstanceEvent):
    """An instance needs a rendition before viewers can show it."""

    TYPE = "org.pacsless.instance.conversion-requested.v1"
    TOPIC = "conversion_queue"
    IDENTITY = ("tenant_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid",
                "sha256", "target_transfer_syntax")  # fmt: skip

    sha256: str
    transfer_syntax: str
    target_transfer_syntax: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFrameIndexRequested(InstanceEvent):
    """An instance has compressed frames that should be found without looking for them."""

    TYPE = "org.pacsless.instance.frame-index-requested.v1"
    TOPIC = "conversion_queue"
    IDENTITY = ("tenant_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid",
                "sha256")  # fmt: skip

    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConverted(InstanceEvent):
    """A rendition lies beside the original."""

    TYPE = "org.pacsless.instance.converted.v1"
    TOPIC = "conversion_log_queue"
    IDENTITY = ("tenant_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid",
                "sha256", "target_transfer_syntax")  # fmt: skip

    sha256: str
    transfer_syntax: str
    target_transfer_syntax: str
    rendition_path: str
    rendition_size: int
    rendition_sha256: str
    converted_at: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConversionFailed(InstanceEvent):
    """A rendition could not be made; the original is untouched."""

    TYPE = "org.pacsless.instance.conversion-failed.v1"
    TOPIC = "conversion_log_queue"
    IDENTITY = ("tenant_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid",
                "sha256", "target_transfer_syntax", "stage", "error_code")  # fmt: skip

    sha256: str
    transfer_syntax: str
    target_transfer_syntax: str
    stage: str
    """``parse``, ``decode``, ``convert``, ``encode`` or ``verify``."""
    error_code: str
    error_text: str
    failed_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLogged(Event):
    """A client asked for something over DICOMweb, and this is what it got.

    Nobody sends it any more: many are one `AccessesLogged`. A queue may still hold some.
    """

    TYPE = "org.pacsless.access.logged.v1"
    TOPIC = "access_log_queue"
    IDENTITY = ("tenant_id", "request_id")

    request_id: str
    accessed_at: str
    method: str
    route: str
    """The transaction and its resource: ``retrieve_instance``, ``search_studies``."""
    path: str
    """Without the query, which may name a patient."""
    series_instance_uid: str
    sop_instance_uid: str
    status: int
    bytes_sent: int
    duration_ms: float
    remote_address: str
    user_agent: str
    user_id: str = ""
    """Subject of the verified access token; empty where there is none."""

    @property
    def subject(self) -> str:
        return f"requests/{self.request_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessesLogged(Event):
    """Clients asked for something of one tenant over DICOMweb, and this is what they got."""

    TYPE = "org.pacsless.accesses.logged.v1"
    TOPIC = "access_log_queue"
    IDENTITY = ("tenant_id", "accesses")

    accesses: list[Json]
    """What `AccessLogged` says of each but the tenant, under the same names, as logged."""

    @property
    def id(self) -> str:
        """As of every event; an access is the same if its request is."""
        parts = (self.TYPE, self.tenant_id, *(str(one["RequestID"]) for one in self.accesses))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    @property
    def subject(self) -> str:
        return "requests"

    def check(self) -> None:
        """Raise `Unprocessable` if there is no access, or one lacks what each has."""
        if not self.accesses:
            raise Unprocessable("schema", f"Accesses of {self.TYPE} is empty")
        kinds = _access_kinds()
        for access in self.accesses:
            if not isinstance(access, dict):
                raise Unprocessable("schema", f"an access of {self.TYPE} is not a JSON object")
            for name, kind in kinds:
                if not isinstance(access.get(name), kind):
                    raise Unprocessable(
                        "schema",
                        f"{name} of an access of {self.TYPE} is missing or of a wrong type",
                    )


@cache
def _access_kinds() -> tuple[tuple[str, tuple[type, ...]], ...]:
    return tuple(
        (data_name(field.name), _accepted(str(field.type)))
        for field in fields(AccessLogged)
        if field.name != "tenant_id"
    )


EVENTS: Final[dict[str, type[Event]]] = {
    event.TYPE: event
    for event in (
        InstanceStored,
        InstanceDeleted,
        InstanceReceived,
        SeriesRevised,
        InstanceIndexed,
        InstanceUnindexed,
        InstanceConversionRequested,
        InstanceFrameIndexRequested,
        InstanceConverted,
        InstanceConversionFailed,
        AccessLogged,
        AccessesLogged,
    )
}
"""Every event there is, by type."""

TOPICS: Final = tuple(dict.fromkeys(event.TOPIC for event in EVENTS.values()))
"""Every topic there is, in the order of the flow."""


DEAD_LETTER_SUFFIX: Final = ".dlq"
"""What the name of a topic of dead letters ends in."""


def dead_letter_topic(topic: str) -> str:
    """Topic that takes the events of `topic` nobody could handle."""
    return topic + DEAD_LETTER_SUFFIX


SETTLED_TOPIC: Final = "dlq_settled"
"""Topic that says which dead letters wait no more (`pacsless.bus.dead_letters`)."""

"""Who an instance is, and the one address everybody knows it by.

``studies/{study}/series/{series}/instances/{instance}`` is at once the WADO-RS
path (PS3.18 §10.4), the subject of the instance's events and the way to its
file. Identifiers are validated here, once, before they become any of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from pacsless.errors import InvalidIdentity

# PS3.5 §9.1 forbids leading zeros in a component and empty components; real
# devices send the former, so only what is unsafe or cannot be a UID is refused.
_UID: Final = re.compile(r"[0-9](?:[0-9.]{0,62}[0-9])?", re.ASCII)
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)

RESERVED_TENANTS: Final = frozenset(
    {"metadata", "renditions", "quarantine", "tombstones", "tenants"}
)
"""Names that stand beside the tenants at the archive's root."""


@lru_cache(4096)  # of an instance, each UID is looked at a dozen times on its way
def valid_uid(uid: str, keyword: str = "UID") -> str:
    """Return `uid` if it may become a path.

    Parameters
    ----------
    uid
        The value, without DICOM's trailing NUL padding.
    keyword
        The DICOM keyword to name in the error.

    Raises
    ------
    InvalidIdentity
        If it is not 1 to 64 digits and dots, starting and ending in a digit.
    """
    if not _UID.fullmatch(uid) or ".." in uid:
        raise InvalidIdentity(
            "invalid-uid", f"{keyword} is not a UID: 1 to 64 digits and dots (PS3.5 §9.1)"
        )
    return uid


@lru_cache(1024)
def valid_tenant(tenant_id: str) -> str:
    """Return `tenant_id` if it is a tenant's name.

    Raises
    ------
    InvalidIdentity
        If it is malformed or reserved.
    """
    if not _TENANT.fullmatch(tenant_id) or tenant_id in RESERVED_TENANTS:
        raise InvalidIdentity(
            "invalid-tenant",
            "a tenant is named with 1 to 64 of a-z, 0-9, '_' and '-', starting with a letter "
            f"or a digit, and none of {', '.join(sorted(RESERVED_TENANTS))}",
        )
    return tenant_id


@dataclass(frozen=True, slots=True, order=True)
class SeriesIdentity:
    """A series of one tenant."""

    tenant_id: str
    study_instance_uid: str
    series_instance_uid: str

    def __post_init__(self) -> None:
        valid_tenant(self.tenant_id)
        valid_uid(self.study_instance_uid, "StudyInstanceUID")
        valid_uid(self.series_instance_uid, "SeriesInstanceUID")

    @property
    def subject(self) -> str:
        """The WADO-RS path of the series, without a leading slash."""
        return f"studies/{self.study_instance_uid}/series/{self.series_instance_uid}"

    @property
    def folder(self) -> str:
        """Archive key below which the series' originals lie."""
        return f"{self.tenant_id}/{self.study_instance_uid}/{self.series_instance_uid}"

    @property
    def tombstones(self) -> str:
        """Archive key below which the tombstones of its deleted instances lie."""
        return f"tombstones/{self.folder}"

    @property
    def metadata_key(self) -> str:
        """Archive key of the series' prebuilt DICOM JSON."""
        return (
            f"metadata/{self.tenant_id}/{self.study_instance_uid}/{self.series_instance_uid}.json"
        )

    def instance(self, sop_instance_uid: str) -> InstanceIdentity:
        """Return an instance of the series."""
        return InstanceIdentity(
            self.tenant_id, self.study_instance_uid, self.series_instance_uid, sop_instance_uid
        )


def study_metadata_key(tenant_id: str, study_instance_uid: str) -> str:
    """Archive key of a study's prebuilt DICOM JSON."""
    valid_uid(study_instance_uid, "StudyInstanceUID")
    return f"metadata/{valid_tenant(tenant_id)}/{study_instance_uid}.json"


@dataclass(frozen=True, slots=True, order=True)
class InstanceIdentity:
    """A SOP instance of one tenant: four validated names.

    Raises
    ------
    InvalidIdentity
        On construction, if any of them must not become a path.

    Examples
    --------
    >>> one = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    >>> one.subject
    'studies/1.2/series/1.2.3/instances/1.2.3.4'
    >>> one.key
    'default/1.2/1.2.3/1.2.3.4.dcm'
    """

    tenant_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str

    def __post_init__(self) -> None:
        valid_tenant(self.tenant_id)
        valid_uid(self.study_instance_uid, "StudyInstanceUID")
        valid_uid(self.series_instance_uid, "SeriesInstanceUID")
        valid_uid(self.sop_instance_uid, "SOPInstanceUID")

    @classmethod
    def of_key(cls, key: str) -> Self:
        """Read the identity back from the key of an original.

        Raises
        ------
        InvalidIdentity
            If `key` is not the key of an original.
        """
        parts = key.removesuffix(".dcm").split("/")
        if len(parts) != 4 or not key.endswith(".dcm"):
            raise InvalidIdentity("invalid-key", "not the key of an original instance")
        return cls(*parts)

    @property
    def uids(self) -> tuple[str, str, str]:
        """Study, series and SOP Instance UID."""
        return self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid

    @property
    def series(self) -> SeriesIdentity:
        """The series it belongs to."""
        return SeriesIdentity(self.tenant_id, self.study_instance_uid, self.series_instance_uid)

    @property
    def subject(self) -> str:
        """The WADO-RS path of the instance, without a leading slash."""
        return (
            f"studies/{self.study_instance_uid}/series/{self.series_instance_uid}"
            f"/instances/{self.sop_instance_uid}"
        )

    @property
    def key(self) -> str:
        """Archive key of the original, as received."""
        return (
            f"{self.tenant_id}/{self.study_instance_uid}/{self.series_instance_uid}"
            f"/{self.sop_instance_uid}.dcm"
        )

    @property
    def renditions(self) -> str:
        """Archive key below which the instance's renditions lie."""
        return f"renditions/{self.series.folder}/{self.sop_instance_uid}"

    @property
    def tombstone_key(self) -> str:
        """Archive key of what says that the instance was deleted."""
        return f"{self.series.tombstones}/{self.sop_instance_uid}.json"

    def rendition_key(self, transfer_syntax_uid: str) -> str:
        """Archive key of the rendition in `transfer_syntax_uid`."""
        return f"{self.renditions}/{valid_uid(transfer_syntax_uid, 'TransferSyntaxUID')}.dcm"

    @property
    def frame_index_key(self) -> str:
        """Archive key of the index of its frames, whose name has the number of its form.

        So an older process never reads a newer one's.
        """
        return f"{self.renditions}/frames.1"

    @property
    def partition_key(self) -> str:
        """Kafka key: one study is in one consumer's hands at a time."""
        return f"{self.tenant_id}/{self.study_instance_uid}"

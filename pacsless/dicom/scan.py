"""Who is this instance? Identifiers only, without parsing the data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from pacsless.dicom.elements import ScanError

__all__ = ["Identifiers", "ScanError", "scan"]

INFLATE_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Identifiers:
    """What the data set says of itself; a missing attribute is ``""``.

    The values are as sent, less DICOM's trailing padding: they are *not* known
    to be UIDs. `pacsless.identity.InstanceIdentity` validates them.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str


def scan(
    file: BinaryIO, transfer_syntax: str, *, inflate_limit: int = INFLATE_LIMIT
) -> Identifiers:
    """Find the identifiers of a data set, from the file's current position on.

    Parameters
    ----------
    file
        Seekable, positioned at the first byte of the data set.
    transfer_syntax
        Of the data set: negotiated, or from the File Meta Information.
    inflate_limit
        Most bytes to inflate of a deflated data set.

    Raises
    ------
    ScanError
        If the bytes are not a data set, end too early, or exceed a limit. The
        message holds no value of the data set.
    """
    raise NotImplementedError

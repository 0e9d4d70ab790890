"""PS3.10 files: finding the data set in one, and the File Meta Information of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

IMPLEMENTATION_CLASS_UID: Final = "2.25.157609333727637003412936651956045031774"
IMPLEMENTATION_VERSION_NAME: Final = "PACSLESS_0.1"


@dataclass(frozen=True, slots=True)
class Part10:
    """Where the data set of a file begins, and what the File Meta Information says.

    Attributes
    ----------
    transfer_syntax
        (0002,0010); guessed from the first element when there is no File Meta
        Information or no such element in it.
    dataset_offset
        Of the first byte of the data set.
    sop_class_uid, sop_instance_uid
        (0002,0002) and (0002,0003), or ``""``.
    has_meta
        Whether there is File Meta Information at all.
    """

    transfer_syntax: str
    dataset_offset: int
    sop_class_uid: str
    sop_instance_uid: str
    has_meta: bool


def split_part10(file: BinaryIO) -> Part10:
    """Find the data set of a file; leaves the file positioned at its first byte.

    With or without preamble, with a missing or wrong group length, or without
    File Meta Information at all.

    Raises
    ------
    ScanError
        ``not-dicom`` or ``truncated``.
    """
    raise NotImplementedError


def file_meta(
    sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str
) -> bytes:
    """Return preamble, prefix and File Meta Information (PS3.10 §7.1) for a data set.

    Deterministic. The data set's bytes follow as they are.
    """
    raise NotImplementedError

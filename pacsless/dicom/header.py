"""Everything of an instance but its large values, under limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one header may cost; the defaults suit a 512 MiB worker."""

    inflated_bytes: int = 64 * 1024 * 1024
    header_bytes: int = 64 * 1024 * 1024
    depth: int = 64
    elements: int = 1_000_000
    items: int = 100_000
    inline_bytes: int = 1024


class BulkValue(NamedTuple):
    """A value left in the file.

    Attributes
    ----------
    vr
        Its VR.
    offset, length
        Its place in the file; in the inflated data set if `Header.deflated`.
        ``length`` is None for encapsulated Pixel Data: see `locate_frames`.
    swap
        Bytes to reverse in each word to make it little endian; 1 means none.
    """

    vr: str
    offset: int
    length: int | None
    swap: int = 1


class Header(Dataset):
    """A data set (or an item of one) without its large values.

    A `pydicom.Dataset`, but it never raises or warns for a bad value: text
    is decoded with replacement, and an invalid number is None. Large binary
    values, and Pixel Data, are not in the data set but in `bulk`, by tag.
    """

    transfer_syntax: str
    implicit_vr: bool
    little_endian: bool
    deflated: bool
    bulk: dict[int, BulkValue]


def read_header(file: BinaryIO | bytes, *, limits: Limits = Limits()) -> Header:
    """Read a PS3.10 file (or a bare data set) up to its Pixel Data.

    Raises
    ------
    ScanError
        An `Unprocessable`: ``not-dicom``, ``truncated``, ``invalid-length``,
        ``too-deep``, ``too-many-elements``, ``too-large``, ``inflate-limit``
        or ``bad-deflate``; messages hold no values.
    """
    raise NotImplementedError

"""The DICOM JSON Model (PS3.18 Annex F)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from pacsless.dicom.header import BulkValue, Header


def to_dicom_json(
    header: Header,
    bulk_data_uri: Callable[[str], str],
    *,
    inline_limit: int = 1024,
    warnings: list[str] | None = None,
) -> dict[str, Any]:
    """Return the DICOM JSON Model object of a header.

    Parameters
    ----------
    header
        From `read_header`.
    bulk_data_uri
        Given the path of an attribute (``"7FE00010"``,
        ``"00089215/0/00420011"``: tag, item index from 0, tag, ...), returns
        the BulkDataURI to emit.
    inline_limit
        Largest binary value to inline, in bytes. Palettes are always inline,
        Pixel Data never.
    warnings
        If given, gets a line (path and fault, no value) for each value that
        could not be emitted as its VR says.
    """
    raise NotImplementedError


def find_bulk_data(header: Header, path: str) -> BulkValue | bytes:
    """Return the value that the BulkDataURI for `path` refers to.

    Returns
    -------
    BulkValue or bytes
        Where it is in the file, or the value itself, little endian.

    Raises
    ------
    NotFound
        If there is no such attribute.
    """
    raise NotImplementedError


def read_bulk_data(file: BinaryIO, header: Header, path: str) -> bytes:
    """Return the value for `path`, little endian, whatever the transfer syntax."""
    raise NotImplementedError


def encode(document: object) -> bytes:
    """Serialise DICOM JSON: UTF-8, compact, never a bare NaN."""
    raise NotImplementedError

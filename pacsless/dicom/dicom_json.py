"""The DICOM JSON Model (PS3.18 Annex F)."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Callable
from functools import lru_cache
from typing import Any, BinaryIO, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag

from pacsless.dicom import values
from pacsless.dicom.dataset import BulkValue, Header
from pacsless.dicom.elements import InflatingSource, ScanError
from pacsless.dicom.header import DEFAULT_LIMITS, PALETTES
from pacsless.errors import NotFound, Unprocessable

# RFC 8259 §6: integers beyond this are not exact in most JSON parsers.
_EXACT: Final = 2**53
# PS3.5 §7.1: these groups are of commands, files and directories, not data sets.
_FIRST_GROUP: Final = 0x0008
_TAG: Final = re.compile(r"[0-9A-F]{8}")
_LARGEST_REMEMBERED: Final = 64
"""Bytes of a value that is remembered."""
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def to_dicom_json(
    header: Header,
    bulk_data_uri: Callable[[str], str],
    *,
    inline_limit: int = DEFAULT_LIMITS.inline_bytes,
    warnings: list[str] | None = None,
) -> dict[str, Any]:
    """Return the DICOM JSON Model object of a header.

    Every value that JSON cannot carry exactly is still there: a DS or IS that
    is no number is a string (§F.2.3 allows that), 64-bit integers past 2^53
    are strings, and an element with NaN or an infinity, for which §F.2.3 has
    no form, is referred to by a BulkDataURI (§F.2.2).

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
        is not what its VR says.
    """
    writer = _Writer(bulk_data_uri, inline_limit, [] if warnings is None else warnings)
    return writer.data_set(header, "", header.pixel_representation)


class _Writer:
    """One conversion; recursion is bounded by the depth `read_header` allows."""

    def __init__(
        self, bulk_data_uri: Callable[[str], str], inline_limit: int, warnings: list[str]
    ) -> None:
        self._bulk_data_uri = bulk_data_uri
        self._inline_limit = inline_limit
        self._warnings = warnings

    def data_set(self, header: Header, path: str, pixel_representation: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        # An item without Pixel Representation has that of its data set.
        signed = header.pixel_representation if 0x00280103 in header else pixel_representation
        in_order = True
        last = 0
        for element in header.raw_elements():
            tag = int(element.tag)
            # Group lengths are excluded (§F.2.2), and groups that are of no data set.
            if tag & 0xFFFF == 0 or tag >> 16 < _FIRST_GROUP:
                continue
            in_order = in_order and tag > last
            last = tag
            name = _name(tag)
            found[name] = (
                self._raw(header, element, path + name, signed)
                if isinstance(element, RawDataElement)
                else self._decoded(element, path + name, signed)
            )
        for tag, bulk in header.bulk.items():
            in_order = False
            name = _name(tag)
            vr = values.definite_vr(bulk.vr, signed)
            found[name] = (
                {"vr": vr}
                if bulk.length == 0
                else {"vr": vr, "BulkDataURI": self._bulk_data_uri(path + name)}
            )
        return found if in_order else dict(sorted(found.items()))

    def _raw(
        self, header: Header, element: RawDataElement, path: str, pixel_representation: int
    ) -> dict[str, Any]:
        vr = values.definite_vr(element.VR or "UN", pixel_representation)
        value = element.value or b""
        if not value:
            return {"vr": vr}
        if vr in values.BINARY:
            if len(value) > self._inline_limit and int(element.tag) not in PALETTES:
                return {"vr": vr, "BulkDataURI": self._bulk_data_uri(path)}
            swap = values.swap_size(vr, element.is_little_endian)
            inline = b64encode(values.to_little_endian(value, swap)).decode("ascii")
            return {"vr": vr, "InlineBinary": inline}
        # A name's groups are dicts, which are the caller's.
        remember = vr != "PN" and len(value) <= _LARGEST_REMEMBERED
        found, faults = (_remembered if remember else _values)(
            vr, value, element.is_little_endian, header.text_encoding
        )
        self._warnings += [f"{path}: {fault}" for fault in faults]
        if found is None:
            return {"vr": vr, "BulkDataURI": self._bulk_data_uri(path)}
        return {"vr": vr, "Value": [*found]} if found else {"vr": vr}

    def _decoded(
        self, element: DataElement, path: str, pixel_representation: int
    ) -> dict[str, Any]:
        if element.VR != "SQ":
            # Assigned by the caller, so it is valid and small.
            return element.to_json_dict(None, 0)
        items = [
            self.data_set(item, f"{path}/{i}/", pixel_representation)
            for i, item in enumerate(element.value)
        ]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def _values(
    vr: str, value: bytes, little_endian: bool, encoding: str
) -> tuple[tuple[Any, ...] | None, tuple[str, ...]]:
    """Return the values of an element as JSON has them, None if it cannot, and what is wrong."""
    faults = []
    if len(value) % values.word_size(vr):
        faults.append("not a whole number of values")
    found: list[Any] = values.decode(vr, value, little_endian, encoding)
    if vr == "PN":
        found = [_person_name(name) for name in found]
    elif vr in ("FL", "FD") and not all(map(math.isfinite, found)):
        return None, (*faults, "NaN or infinite, as BulkDataURI")
    elif vr in values.NUMERIC_TEXT or vr in ("SV", "UV"):
        for i, number in enumerate(found):
            if isinstance(number, str):
                faults.append("not a number, as text")
            elif isinstance(number, int):
                found[i] = _exact(number)
            elif isinstance(number, float) and vr == "IS":
                faults.append("not an integer")
    return tuple(found), tuple(faults)


_remembered: Final = lru_cache(maxsize=8192)(_values)
"""The instances of a series say most things alike, one after the other."""


@lru_cache(maxsize=8192)
def _name(tag: int) -> str:
    return f"{tag:08X}"


def _exact(number: int) -> int | str:
    return number if -_EXACT <= number <= _EXACT else str(number)


def _person_name(name: str | None) -> dict[str, str] | None:
    """Return the non-empty component groups of a name (§F.2.2), null for an empty one."""
    if name is None:
        return None
    groups = zip(values.NAME_GROUPS, name.split("="), strict=False)
    return {kind: group.rstrip(" ") for kind, group in groups if group.rstrip(" ")} or None


def find_bulk_data(header: Header, path: str) -> BulkValue | bytes:
    """Return the value that the BulkDataURI for ``path`` refers to.

    Parameters
    ----------
    header
        From `read_header`, of the same file.
    path
        As given to ``bulk_data_uri``.

    Returns
    -------
    BulkValue or bytes
        Where it is in the file, or the value itself, little endian.

    Raises
    ------
    NotFound
        If there is no such attribute, or it is a sequence.
    """
    *way, name = path.split("/")
    data_set = header
    for tag, index in zip(way[::2], way[1::2], strict=False):
        element = _element(data_set, tag)
        if not isinstance(element, DataElement) or element.VR != "SQ":
            raise _no_such(path)
        if not _INDEX.fullmatch(index) or int(index) >= len(element.value):
            raise _no_such(path)
        data_set = element.value[int(index)]
    found = _element(data_set, name)
    if len(way) % 2 or found is None or isinstance(found, DataElement):
        raise _no_such(path)
    if isinstance(found, BulkValue):
        return found
    vr = values.definite_vr(found.VR or "UN", data_set.pixel_representation)
    swap = values.swap_size(vr, found.is_little_endian)
    return values.to_little_endian(found.value or b"", swap)


def _element(data_set: Header, name: str) -> RawDataElement | DataElement | BulkValue | None:
    if not _TAG.fullmatch(name):
        return None
    tag = BaseTag(int(name, 16))
    if tag in data_set.bulk:
        return data_set.bulk[tag]
    return data_set.get_item(tag) if tag in data_set else None


def _no_such(path: str) -> NotFound:
    return NotFound("no-such-attribute", f"the instance has no bulk data at {path[:64]!r}")


def read_bulk_data(
    file: BinaryIO, header: Header, path: str, *, inflate_limit: int = 256 * 1024 * 1024
) -> bytes:
    """Return the value for ``path``, little endian, whatever the transfer syntax.

    Parameters
    ----------
    file
        The file ``header`` was read from.
    header, path
        As for `find_bulk_data`.
    inflate_limit
        Most bytes to inflate of a deflated data set.

    Raises
    ------
    NotFound
        If there is no such attribute.
    Unprocessable
        ``fragments``: encapsulated Pixel Data is no single value, its frames
        are (`locate_frames`); ``truncated``; ``inflate-limit``.
    """
    found = find_bulk_data(header, path)
    if isinstance(found, bytes):
        return found
    if found.length is None:
        raise Unprocessable("fragments", "the value is encapsulated: retrieve its frames instead")
    if header.deflated:
        source = InflatingSource(file, header.dataset_offset, inflate_limit)
        value = source.read(found.offset, found.length)
    else:
        file.seek(found.offset)
        value = _read_exactly(file, found.length)
    return values.to_little_endian(value, found.swap)


def _read_exactly(file: BinaryIO, length: int) -> bytes:
    """Read ``length`` bytes; a lying length must not be allocated first."""
    here = file.tell()
    if file.seek(0, 2) - here < length:
        raise ScanError("truncated", "the file ends inside the value")
    file.seek(here)
    return file.read(length)

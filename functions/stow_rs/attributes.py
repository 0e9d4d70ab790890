"""Instances sent as attributes, with bulk data beside them, made PS3.10 files; pure.

PS3.18 §10.5.2: the attributes of each instance are in the DICOM JSON Model or in
the Native DICOM Model, and where a value is not in it there is a BulkDataURI: the
Content-Location of another part. None is ever fetched from anywhere.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase
from itertools import accumulate
from typing import Any, BinaryIO, Final

from pydicom.dataset import Dataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset

from pacsless.dicom.part10 import file_meta
from pacsless.dicom.scan import ScanError
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, is_storable, lookup

_PIXEL_DATA: Final = "7FE00010"
_TRANSFER_SYNTAXES: Final = ("00020010", "00083002")
"""Where the attributes may say what the pixels are encoded in."""
_DEFAULT_SYNTAX: Final = {
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
    "video/mpeg2": "1.2.840.10008.1.2.4.100",
    "video/mp4": "1.2.840.10008.1.2.4.102",
    "video/h265": "1.2.840.10008.1.2.4.107",
}
"""What a media type without parameter means (PS3.18 Tables 8.7.3-2 to 8.7.3-4)."""
_NUMBERS: Final = {
    "FL": "f", "FD": "d", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q",
}  # fmt: skip
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_DEEPEST: Final = 64
_MOST_HELD: Final = 16 << 20
"""Bytes of an instance's bulk values that pydicom holds: all but binary ones of the data set
itself. An attribute counts each time it names them."""


@dataclass(slots=True)
class Bulk:
    """What came for one Content-Location."""

    file: BinaryIO
    """Where all bulk data of the request is."""
    media_type: str
    transfer_syntax: str
    """Of its ``transfer-syntax`` parameter; empty if there was none."""
    pieces: list[tuple[int, int]] = field(default_factory=list)
    """Offset and length of each part."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(length for _, length in self.pieces)

    def read(self) -> bytes:
        """Return the bytes themselves."""
        return self.open().read(self.size)

    def open(self) -> BufferedReader:
        """Read the pieces as one, padded to an even length (PS3.5 §6.2)."""
        return BufferedReader(_Pieces(self.file, self.pieces))

    @property
    def is_encapsulated(self) -> bool:
        """Whether its parts are frames in a codec's format."""
        return is_frames(self.media_type, self.transfer_syntax)


class _Pieces(RawIOBase):
    """Pieces of a file as one file."""

    def __init__(self, file: BinaryIO, pieces: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self._file, self._pieces = file, pieces
        self._ends = list(accumulate(length for _, length in pieces))
        self._data = self._ends[-1] if pieces else 0
        self._size = self._data + self._data % 2
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        at = self._position
        if at >= self._size or not len(buffer):
            return 0
        if at == self._data:
            buffer[:1] = b"\0"
            count = 1
        else:
            index = bisect_right(self._ends, at)
            offset, length = self._pieces[index]
            within = length - (self._ends[index] - at)
            self._file.seek(offset + within)
            data = self._file.read(min(len(buffer), length - within))
            count = len(data)
            buffer[:count] = data
        self._position += count
        return count


def is_frames(media_type: str, transfer_syntax: str) -> bool:
    """Whether a part is a frame in a codec's format, and not values in little endian."""
    if transfer_syntax:
        return lookup(transfer_syntax).encapsulated
    return media_type.startswith(("image/", "video/"))


def first_text(model: Mapping[str, Any], tag: str) -> str:
    """Return the first value of an attribute, or nothing if that is no text."""
    try:
        value = model[tag]["Value"][0]
    except (LookupError, TypeError):
        return ""
    return value if isinstance(value, str) else ""


def write_part10(
    model: Mapping[str, Any], bulk: Mapping[str, Bulk], write: Callable[[bytes], None]
) -> None:
    """Write the file of an instance.

    Parameters
    ----------
    model
        Its attributes as a DICOM JSON Model Object.
    bulk
        Bulk data by Content-Location.
    write
        Takes the bytes, from first to last.

    Raises
    ------
    ScanError
        If that is not DICOM JSON, or bulk data is missing. The message holds no value.
    """
    syntax = _transfer_syntax(model, bulk)
    try:
        own = {tag: one for tag, one in model.items() if tag[:4] > "0002"}
        resolved = _Resolving(bulk).data_set(own)
        ds = _from_json(resolved, bulk)
        if not _is_ascii(resolved):
            ds.SpecificCharacterSet = "ISO_IR 192"
        if _PIXEL_DATA in ds and lookup(syntax).encapsulated:
            ds["PixelData"].VR = "OB"
            ds["PixelData"].is_undefined_length = True
        write(file_meta(str(ds.SOPClassUID), str(ds.SOPInstanceUID), syntax))
        sink = DicomIO(_Sink(write))
        sink.is_implicit_VR, sink.is_little_endian = False, True
        write_dataset(sink, ds)
    except ScanError:
        raise
    except (
        ArithmeticError, AttributeError, LookupError, NotImplementedError, OSError, RecursionError,
        TypeError, ValueError, struct.error,
    ):  # fmt: skip
        # A library's message may quote a value.
        raise ScanError("attributes", "the attributes are not those of a DICOM instance") from None


def _transfer_syntax(model: Mapping[str, Any], bulk: Mapping[str, Bulk]) -> str:
    """Tell the transfer syntax: that of the pixels, if they are in a codec's format."""
    pixels = model.get(_PIXEL_DATA)
    uri = pixels.get("BulkDataURI") if isinstance(pixels, dict) else None
    one = bulk.get(uri) if isinstance(uri, str) else None
    if one is None or not one.is_encapsulated:
        return EXPLICIT_VR_LITTLE_ENDIAN
    stated = [one.transfer_syntax, *(first_text(model, tag) for tag in _TRANSFER_SYNTAXES)]
    for syntax in stated:
        if is_storable(syntax) and lookup(syntax).encapsulated:
            return syntax
    if one.media_type not in _DEFAULT_SYNTAX:
        raise ScanError(
            "transfer-syntax", "the pixels' part needs a transfer-syntax parameter (PS3.18 §8.7.3)"
        )
    return _DEFAULT_SYNTAX[one.media_type]


class _Resolving:
    """Puts in what pydicom does not read from a bulk data handler."""

    def __init__(self, bulk: Mapping[str, Bulk]) -> None:
        self._bulk = bulk
        self._held = 0

    def data_set(self, model: Any, depth: int = 0) -> dict[str, Any]:
        if depth > _DEEPEST:
            raise ScanError("depth", f"sequences are nested deeper than {_DEEPEST}")
        made: dict[str, Any] = {}
        for tag, attribute in model.items():
            vr = attribute["vr"]
            if vr == "SQ":
                items = attribute.get("Value", ())
                values = [self.data_set(item or {}, depth + 1) for item in items]
                made[tag] = {"vr": vr, "Value": values}
            elif "BulkDataURI" in attribute:
                made[tag] = self._value(vr, attribute, depth)
            elif tag != "00080005" or not depth:
                made[tag] = attribute
        return made

    def _value(self, vr: str, attribute: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        one = self._bulk.get(attribute["BulkDataURI"])
        if one is None:
            raise ScanError("bulk-data", "no part has the Content-Location of a BulkDataURI")
        if vr in _BINARY and not depth:
            return attribute
        self._held += one.size
        if self._held > _MOST_HELD:
            raise ScanError("bulk-data", f"nested bulk data has more than {_MOST_HELD} bytes")
        if vr in _BINARY:
            return attribute
        data = one.read()
        if vr in _NUMBERS:
            values = [value for (value,) in struct.iter_unpack(f"<{_NUMBERS[vr]}", data)]
            return {"vr": vr, "Value": values}
        return {"vr": vr, "Value": data.decode().rstrip(" \0").split("\\")}


def _from_json(model: dict[str, Any], bulk: Mapping[str, Bulk]) -> Dataset:
    def value(tag: str, vr: str, uri: str) -> Any:  # pydicom takes files, which it does not state
        return bulk[uri].open()

    return Dataset.from_json(model, value)


def _is_ascii(value: Any) -> bool:
    match value:
        case str():
            return value.isascii()
        case dict():
            return all(_is_ascii(one) for one in value.values())
        case list():
            return all(_is_ascii(one) for one in value)
        case _:
            return True


class _Sink:
    """A file that can only be appended to."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write, self._position = write, 0

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        self._write(bytes(data))
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise OSError("this is only appended to")

"""A compressed instance in Explicit VR Little Endian, decoded while it is sent.

PS3.18 §8.7.3 has every server offer it. All elements are copied as they are but
those that say how pixels are written; the frames are decoded one at a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from typing import TYPE_CHECKING, Final

from werkzeug.wrappers import Response

from pacsless.dicom.elements import (
    UNDEFINED,
    Element,
    Encoding,
    Source,
    next_element,
    open_data_set,
    skip_undefined,
    too_many,
    truncated,
)
from pacsless.dicom.explicit_le import file_meta_of
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from pacsless.errors import NotAcceptable, Unprocessable
from pacsless.extent import Extent
from pacsless.rendering.native import native_length, to_native
from pacsless.rendering.opened import Opened, open_image

if TYPE_CHECKING:
    from pacsless.archive import Archive
    from pacsless.cache import Cache
    from pacsless.instances import Stored

_PHOTOMETRIC: Final = 0x00280004
_PLANAR: Final = 0x00280006
_ICON: Final = 0x00880200
_OFFSETS: Final = (0x7FE00001, 0x7FE00002)
_PIXEL_DATA: Final = 0x7FE00010
_SIGNED: Final = (0xFFFA, 0xFFFC)
"""Groups of Digital Signatures, which are of the compressed bytes, and of padding."""
_EXPLICIT: Final = Encoding(implicit_vr=False, little_endian=True)
_MOST: Final = 100_000
_LONGEST: Final = 0xFFFFFFFE

_Piece = bytes | tuple[int, int]
"""What is written, or offset and length of what is copied."""


@dataclass(frozen=True, slots=True)
class Uncompressed:
    """A file that is made while it is read."""

    opened: Opened
    head: Sequence[_Piece]
    tail: Sequence[_Piece]
    first: bytes
    """The first frame: what cannot be decoded is known before anything is sent."""

    @property
    def length(self) -> int:
        """Bytes in all."""
        pixels = self.opened.table.number_of_frames * len(self.first)
        return pixels + pixels % 2 + sum(map(_length, (*self.head, *self.tail)))

    def read(self) -> Iterator[bytes]:
        """Yield the bytes.

        Raises
        ------
        Unprocessable
            If another frame is damaged; there is no end to the body then, by which a client knows.
        """
        frames = self.opened.table.number_of_frames
        yield from self._copied(self.head)
        yield self.first
        for number in range(2, frames + 1):
            yield native_frame(self.opened, number)[0]
        yield bytes(frames * len(self.first) % 2)
        yield from self._copied(self.tail)

    def close(self) -> None:
        """Close the file."""
        self.opened.file.close()

    def _copied(self, pieces: Sequence[_Piece]) -> Iterator[bytes]:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from Extent(self.opened.file, [piece]).read()


def native_frame(opened: Opened, number: int) -> tuple[bytes, str]:
    """Decode one frame to native bytes, and return its photometric interpretation, too.

    Raises
    ------
    NotFound
        If there is no such frame.
    NotAcceptable, Unprocessable, Unavailable
        If it cannot be decoded, or not now.
    """
    length = native_length(opened.image)
    with opened.decoded(number) as (samples, photometric):
        data = to_native(samples, opened.image)
    if len(data) != length:
        raise Unprocessable("bad-codestream", "the frame is not as large as the header says")
    return data, photometric


def open_uncompressed(archive: Archive, cache: Cache, stored: Stored) -> Uncompressed:
    """Open an instance to be decoded; the caller closes it.

    Raises
    ------
    NotFound, NotAcceptable
        If it is no image, or none that is decoded.
    Unprocessable
        If it is damaged.
    """
    opened = open_image(archive, cache, stored)
    try:
        first, photometric = native_frame(opened, 1)
        total = opened.table.number_of_frames * len(first)
        if total > _LONGEST:
            raise NotAcceptable("too-large", "the pixels are too long for one element")
        changes: dict[int, bytes | None] = dict.fromkeys((*_OFFSETS, _ICON))
        changes[_PHOTOMETRIC] = _element(_PHOTOMETRIC, b"CS", photometric.encode("ascii"))
        if opened.image.samples_per_pixel > 1:
            changes[_PLANAR] = _element(_PLANAR, b"US", pack("<H", 0))
        vr = b"OB" if opened.image.bits_allocated == 8 else b"OW"
        group, number = _PIXEL_DATA >> 16, _PIXEL_DATA & 0xFFFF
        pixels = pack("<HH2sxxL", group, number, vr, total + total % 2)
        head, tail = _pieces(opened, changes)
        return Uncompressed(opened, [*head, pixels], tail, first)
    except BaseException:
        opened.file.close()
        raise


def send_uncompressed(
    archive: Archive, cache: Cache, stored: Stored, content_type: str, headers: Mapping[str, str]
) -> Response:
    """Decode an instance while it is sent; raises what `open_uncompressed` does."""
    made = open_uncompressed(archive, cache, stored)
    response = Response(made.read(), 200, headers, content_type=content_type)
    response.content_length = made.length
    response.call_on_close(made.close)
    return response


def _pieces(opened: Opened, changes: dict[int, bytes | None]) -> tuple[list[_Piece], list[_Piece]]:
    """Return what is before and after the pixels, changed."""
    file = opened.file
    part10 = split_part10(file)
    source, encoding = open_data_set(file, part10.dataset_offset, part10.transfer_syntax, 0)
    if encoding != _EXPLICIT:
        raise NotAcceptable("transfer-syntax", "the file is not encoded as it says")
    head: list[_Piece] = [file_meta_of(file, part10, EXPLICIT_VR_LITTLE_ENDIAN)]
    tail: list[_Piece] = []
    pending = sorted(changes)
    pieces = head
    for element, begin, end in _elements(source, file.seek(0, io.SEEK_END)):
        while pending and pending[0] <= element.tag:
            made = changes[pending.pop(0)]
            if made is not None:
                pieces.append(made)
        if element.tag == _PIXEL_DATA and pieces is head:
            pieces = tail
        elif not (
            element.tag in changes or element.tag & 0xFFFF == 0 or element.tag >> 16 in _SIGNED
        ):
            _append(pieces, begin, end)
    return head, tail


def _append(pieces: list[_Piece], begin: int, end: int) -> None:
    last = pieces[-1] if pieces else b""
    if isinstance(last, tuple) and sum(last) == begin:
        pieces[-1] = (last[0], end - last[0])
    else:
        pieces.append((begin, end - begin))


def _elements(source: Source, size: int) -> Iterator[tuple[Element, int, int]]:
    """Yield each element of the data set with where it begins and ends."""
    position = source.origin
    for _ in range(_MOST):
        element = next_element(source, position, _EXPLICIT)
        if element is None:
            return
        if element.length == UNDEFINED:
            end = skip_undefined(source, element, _EXPLICIT)
        else:
            end = element.offset + element.length
        if end > size:
            raise truncated(position)
        yield element, position, end
        position = end
    raise too_many(_MOST)


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    padded = value + b" " * (len(value) % 2)
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(padded)) + padded


def _length(piece: _Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1]

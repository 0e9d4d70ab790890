"""A compressed instance in Explicit VR Little Endian, decoded while it is sent.

PS3.18 §8.7.3 has every server offer it. All elements are copied as they are but
those that say how pixels are written; the frames are decoded one at a time.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from struct import pack
from typing import TYPE_CHECKING, BinaryIO, Final

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
from pacsless.dicom.header import PIXEL_DATA, read_header
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.transfer_syntaxes import CODESTREAMS, EXPLICIT_VR_LITTLE_ENDIAN
from pacsless.errors import BadRequest, NotAcceptable, NotFound, Unprocessable
from pacsless.extent import Extent
from pacsless.rendering.image import integer
from pacsless.rendering.native import native_length, to_native
from pacsless.rendering.opened import Opened, open_image

if TYPE_CHECKING:
    from pacsless.archive import Archive
    from pacsless.cache import Cache
    from pacsless.instances import Stored

_PHOTOMETRIC: Final = 0x00280004
_PLANAR: Final = 0x00280006
_FRAMES: Final = 0x00280008
_ICON: Final = 0x00880200
_OFFSETS: Final = (0x7FE00001, 0x7FE00002)
_PIXEL_DATA: Final = 0x7FE00010
_SIGNED: Final = (0xFFFA, 0xFFFC)
"""Groups of Digital Signatures, which are of the compressed bytes, and of padding."""
_EXPLICIT: Final = Encoding(implicit_vr=False, little_endian=True)
_MOST: Final = 100_000
_LONGEST: Final = 0xFFFFFFFE
_HELD: Final = 1 << 20

_Piece = bytes | tuple[int, int]
"""What is written, or offset and length of what is copied."""


@dataclass(frozen=True, slots=True)
class Uncompressed:
    """A file that is made while it is read."""

    file: BinaryIO
    head: Sequence[_Piece]
    tail: Sequence[_Piece]
    opened: Opened | None = None
    """None if there are no pixels."""
    frame_length: int = 0
    first: Iterator[bytes] = field(default_factory=lambda: iter(()))
    """The first frame: what cannot be decoded is known before anything is sent."""

    @property
    def length(self) -> int:
        """Bytes in all."""
        pixels = self._frames * self.frame_length
        return pixels + pixels % 2 + sum(map(_length, (*self.head, *self.tail)))

    @property
    def _frames(self) -> int:
        return self.opened.table.number_of_frames if self.opened else 0

    def read(self) -> Iterator[bytes]:
        """Yield the bytes, once.

        Raises
        ------
        Unprocessable
            If another frame is damaged; there is no end to the body then, by which a client knows.
        """
        yield from self._copied(self.head)
        if self.opened:
            yield from self.first
            for number in range(2, self._frames + 1):
                yield from sent(native_frame(self.opened, number)[0])
        yield bytes(self._frames * self.frame_length % 2)
        yield from self._copied(self.tail)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _copied(self, pieces: Sequence[_Piece]) -> Iterator[bytes]:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from Extent(self.file, [piece]).read()


def sent(data: bytes) -> Iterator[bytes]:
    """Give a frame out in pieces; a large one waits for its client on disk, not in memory."""
    if len(data) <= _HELD:
        return iter((data,))
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is not read any more
    spool.write(data)
    spool.seek(0)
    return iter(partial(spool.read, _HELD), b"")


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
    codestream = opened.table.transfer_syntax in CODESTREAMS
    with opened.decoded(number) as (samples, photometric):
        data = to_native(samples, opened.image, codestream=codestream)
    if len(data) != length:
        raise Unprocessable("bad-codestream", "the frame is not as large as the header says")
    return data, photometric


def first_frame(opened: Opened, number: int) -> tuple[bytes, str]:
    """Decode the frame an answer begins with.

    Raises
    ------
    NotAcceptable
        If it is damaged, too: it can be had as it is stored.
    """
    try:
        return native_frame(opened, number)
    except Unprocessable as error:
        raise NotAcceptable.so(error) from None


def open_decodable(archive: Archive, cache: Cache, stored: Stored) -> Opened:
    """Open an image to be decoded.

    Raises
    ------
    NotAcceptable
        If it is of a kind that is not: it can be had as it is stored.
    Unprocessable
        If it is damaged.
    """
    try:
        return open_image(archive, cache, stored)
    except (BadRequest, NotFound) as error:
        raise NotAcceptable.so(error) from None


def open_uncompressed(archive: Archive, cache: Cache, stored: Stored) -> Uncompressed:
    """Open an instance to be decoded; the caller closes it.

    Raises
    ------
    NotAcceptable
        If it is none that is decoded.
    Unprocessable
        If it is damaged.
    """
    try:
        opened = open_decodable(archive, cache, stored)
    except NotAcceptable:
        if copied := _open_without_pixels(archive, stored):
            return copied
        raise
    try:
        return _decoded(opened)
    except BaseException:
        opened.file.close()
        raise


def _open_without_pixels(archive: Archive, stored: Stored) -> Uncompressed | None:
    """Open an instance that has nothing to decode; None if it has."""
    file = archive.open(stored.identity.key)
    try:
        if PIXEL_DATA.isdisjoint(read_header(file).bulk):
            return Uncompressed(file, *_pieces(file, {}))
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _decoded(opened: Opened) -> Uncompressed:
    first, photometric = first_frame(opened, 1)
    frames = opened.table.number_of_frames
    total = frames * len(first)
    if total > _LONGEST:
        raise NotAcceptable("too-large", "the pixels are too long for one element")
    changes: dict[int, bytes | None] = dict.fromkeys((*_OFFSETS, _ICON))
    changes[_PHOTOMETRIC] = _element(_PHOTOMETRIC, b"CS", photometric.encode("ascii"))
    if opened.image.samples_per_pixel > 1:
        changes[_PLANAR] = _element(_PLANAR, b"US", pack("<H", 0))
    if integer(opened.header, "NumberOfFrames", 1) != frames:
        changes[_FRAMES] = _element(_FRAMES, b"IS", str(frames).encode("ascii"))
    vr = b"OB" if opened.image.bits_allocated == 8 else b"OW"
    group, number = _PIXEL_DATA >> 16, _PIXEL_DATA & 0xFFFF
    pixels = pack("<HH2sxxL", group, number, vr, total + total % 2)
    head, tail = _pieces(opened.file, changes)
    return Uncompressed(opened.file, [*head, pixels], tail, opened, len(first), sent(first))


def send_uncompressed(
    archive: Archive, cache: Cache, stored: Stored, content_type: str, headers: Mapping[str, str]
) -> Response:
    """Decode an instance while it is sent; raises what `open_uncompressed` does."""
    made = open_uncompressed(archive, cache, stored)
    response = Response(made.read(), 200, headers, content_type=content_type)
    response.content_length = made.length
    response.call_on_close(made.close)
    return response


def _pieces(file: BinaryIO, changes: dict[int, bytes | None]) -> tuple[list[_Piece], list[_Piece]]:
    """Return what is before and after the pixels, changed."""
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

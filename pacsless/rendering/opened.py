"""An image, open: what it is, and one of its frames decoded at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from pacsless import worker
from pacsless.dicom.dataset import Header
from pacsless.dicom.frames import FrameTable
from pacsless.dicom.header import Limits, read_header
from pacsless.errors import Unavailable, Unprocessable
from pacsless.instances import frame_table, open_servable, refuse_video, stored_syntax
from pacsless.rendering.decoding import Samples, decode, require_decodable
from pacsless.rendering.image import ImagePixel, image_pixel, integer

if TYPE_CHECKING:
    from pacsless.archive import Archive
    from pacsless.cache import Cache
    from pacsless.instances import Stored

_LIMITS: Final = Limits(inline_bytes=1 << 18)
"""Lookup tables of 65,536 entries are read with the header."""
_SLACK: Final = 1 << 20
_LARGE: Final = 8 << 20
_PATIENCE: Final = 20.0
"""Seconds to wait for a turn: a client behind nginx waits no more than 60 for its answer."""
_LONGEST: Final = 60.0
"""Seconds a frame may take; nothing but its process's end stops a decoder that loops in C."""
_ODD: Final = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)
_log: Final = logging.getLogger(__name__)
# Threads are many, memory is not: two frames at a time, of large ones one.
_turns: Final = threading.Semaphore(2)
_large_turns: Final = threading.Semaphore(1)


@dataclass(frozen=True, slots=True)
class Opened:
    """An image, open: what it is and where its frames are."""

    file: BinaryIO
    header: Header
    image: ImagePixel
    table: FrameTable

    @property
    def representative(self) -> int:
        """Return the number of the frame that stands for all, by (0028,6010)."""
        number = integer(self.header, "RepresentativeFrameNumber", 1)
        return number if 1 <= number <= self.table.number_of_frames else 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    @contextmanager
    def decoded(self, frame: int, *, drawn: int = 0) -> Iterator[tuple[Samples, str]]:
        """Decode a frame when it is its turn, and keep the turn while it is worked on.

        Parameters
        ----------
        frame
            Its number, from 1.
        drawn
            Pixels that are made of it.

        Yields
        ------
        tuple
            What `decode` returns.

        Raises
        ------
        NotFound
            If there is no such frame.
        Unavailable
            If others are at it, and it takes too long.
        Unprocessable
            If the frame is damaged.
        """
        image, table = self.image, self.table
        pieces = table.ranges(frame)
        if sum(length for _, length in pieces) > 2 * image.native_bytes + _SLACK:
            raise Unprocessable("too-large", "the frame is larger than its pixels")
        with _turn(large=max(image.rows * image.columns, drawn) > _LARGE), worker.running(_LONGEST):
            data = b"".join(_read(self.file, offset, length) for offset, length in pieces)
            bit_offset = 0 if table.is_encapsulated else table.bit_offset(frame)
            try:
                made = [decode(data, image, table.transfer_syntax, bit_offset)]
                del data
                yield made.pop()
            except MemoryError:
                raise Unavailable("memory", "there is no memory for the picture now") from None
            except _ODD as odd:
                # What nobody has thought of is the instance's own fault, and no other's.
                _log.warning("not rendered", extra={"fields": {"error": type(odd).__name__}})
                raise Unprocessable("unreadable", "the image cannot be rendered") from None


def open_image(archive: Archive, cache: Cache, stored: Stored) -> Opened:
    """Open an instance that can be decoded; leaving its context closes it.

    Raises
    ------
    NotFound
        If it is no image.
    NotAcceptable
        If it is of a kind or transfer syntax that is not decoded.
    """
    syntax = stored_syntax(archive, cache, stored)
    refuse_video(syntax)
    file = open_servable(archive, stored, syntax)
    try:
        header = read_header(file, limits=_LIMITS)
        image = image_pixel(header)
        require_decodable(syntax)
        table = frame_table(archive, file, stored, syntax, cache)
        return Opened(file, header, image, table)
    except BaseException:
        file.close()
        raise


@contextmanager
def _turn(*, large: bool) -> Iterator[None]:
    deadline = time.monotonic() + _PATIENCE
    with ExitStack() as held:
        for turns in (_large_turns, _turns) if large else (_turns,):
            if not turns.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise Unavailable("busy", "too much is being rendered: try again in a moment")
            held.callback(turns.release)
        yield


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    data = file.read(length)
    if len(data) < length:
        raise Unprocessable("truncated", "the stored file ends inside the frame")
    return data

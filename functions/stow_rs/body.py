"""The body of a request as it comes: its pace, its encoding and its parts; pure.

Nothing here holds more of a body than a few chunks.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Final, Protocol

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from pacsless.errors import BadRequest, PacslessError, TooLarge

CHUNK: Final = 64 << 10
"""Bytes read at a time."""
PATIENCE_SECONDS: Final = 60.0
"""How long one chunk may take: who sends a byte a second keeps a worker from others."""
_RATIO: Final = 200
"""Most that a body may grow by decoding; DICOM as dense as this is a mask, and small."""
_FREE_BYTES: Final = 64 << 20
"""Of a decoded body, before its ratio counts."""
_MOST_HEADERS: Final = (32, 16 << 10)
"""Of one part, and their bytes."""


class TooSlow(PacslessError):
    """The client sends next to nothing."""

    status = HTTPStatus.REQUEST_TIMEOUT


class Readable(Protocol):
    """Where a body is read from."""

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end."""
        ...


class Paced:
    """A body whose next bytes are waited for only so long.

    Reading blocks, so another thread looks at `waited` and calls `hang_up`.

    Parameters
    ----------
    stream
        The body. If it is cut off it raises `OSError` or `ValueError`, or just ends.
    hang_up
        Ends the connection, and thereby a read.
    length
        Bytes there must be, if that was said.
    clock
        Seconds.
    """

    def __init__(
        self,
        stream: Readable,
        hang_up: Callable[[], None],
        length: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._hang_up, self._clock = stream, hang_up, clock
        self._missing = length or 0
        self._since = float("inf")
        self._was_ended = False

    def read(self, size: int) -> bytes:
        """Return some bytes.

        Raises
        ------
        TooSlow
            If they did not come in time.
        BadRequest
            If the connection ends before the body.
        """
        self._since = self._clock()
        try:
            data = self._stream.read(size)
        except (OSError, ValueError):
            raise self._cut_off() from None
        finally:
            self._since = float("inf")
        self._missing -= len(data)
        if self._was_ended or (not data and self._missing > 0):
            raise self._cut_off()
        return data

    def _cut_off(self) -> PacslessError:
        if self._was_ended:
            return TooSlow("too-slow", "the request takes too long to arrive")
        return BadRequest("truncated", "the body of the request is cut off")

    @property
    def waited(self) -> float:
        """Seconds that a read has been waiting now."""
        return max(0.0, self._clock() - self._since)

    def end(self) -> None:
        """Wait no longer."""
        self._was_ended = True
        self._hang_up()


class Inflated:
    """A body that is sent compressed (Content-Encoding of gzip or deflate).

    Parameters
    ----------
    stream
        What is sent.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._decoder = _decoder()
        self._sent, self._decoded = 0, 0
        self._left = b""

    def read(self, size: int) -> bytes:
        """Return some decoded bytes.

        Raises
        ------
        BadRequest
            If they are not what they are said to be.
        TooLarge
            If they are too many for what was sent.
        """
        while True:
            if not self._left:
                self._left = self._stream.read(CHUNK)
                self._sent += len(self._left)
            if not self._left and self._decoder.eof:
                return b""
            if self._decoder.eof:
                self._decoder = _decoder()  # gzip has members (RFC 1952 §2.2)
            try:
                data = self._decoder.decompress(self._left, size)
            except zlib.error:
                raise BadRequest(
                    "encoding", "the body of the request is not what Content-Encoding says"
                ) from None
            if not data and not self._left:
                raise BadRequest("truncated", "the compressed body of the request is cut off")
            self._left = self._decoder.unconsumed_tail or self._decoder.unused_data
            self._decoded += len(data)
            if self._decoded > max(_FREE_BYTES, _RATIO * self._sent):
                raise TooLarge(
                    "too-dense", "the body decodes to too much: send it without Content-Encoding"
                )
            if data:
                return data


def _decoder() -> zlib._Decompress:
    return zlib.decompressobj(32 + zlib.MAX_WBITS)  # gzip or zlib, as the data begin


Headers = dict[str, str]
"""Of a part, by name in lower case."""


def read_parts(stream: Readable, boundary: bytes) -> Iterator[Headers | bytes | None]:
    """Read a multipart body.

    Parameters
    ----------
    stream
        The body.
    boundary
        Of its parts.

    Yields
    ------
    dict, bytes or None
        The headers of a part, its bytes, and None at its end; then the next part.

    Raises
    ------
    BadRequest
        If it is malformed or cut off. A part that has ended by then is whole.
    """
    parser = _Parser(boundary)
    for chunk in _without_preamble(stream, b"--" + boundary):
        parser.feed(chunk)
        while parser.found:
            yield parser.found.popleft()
    if not parser.is_over:
        raise BadRequest("truncated", "the multipart body of the request is cut off")


def _without_preamble(stream: Readable, delimiter: bytes) -> Iterator[bytes]:
    """Leave out what is before the first delimiter: it says nothing (RFC 2046 §5.1.1)."""
    head = b"\r\n"  # as if there were a line before
    while chunk := stream.read(CHUNK):
        head += chunk
        begin = head.find(b"\r\n" + delimiter)
        if begin >= 0:
            yield head[begin + 2 :]
            break
        if len(head) > CHUNK:
            raise BadRequest("no-boundary", "the body of the request does not have its boundary")
    while chunk := stream.read(CHUNK):
        yield chunk


class _Parser:
    """Collects what python-multipart finds in one chunk."""

    def __init__(self, boundary: bytes) -> None:
        self.found: deque[Headers | bytes | None] = deque()
        self.is_over = False
        self._headers: Headers = {}
        self._name, self._value = b"", b""
        headers, size = _MOST_HEADERS
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._add_name,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
            max_header_count=headers,
            max_header_size=size,
        )

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError:
            raise BadRequest(
                "multipart", "the multipart body of the request is malformed"
            ) from None

    def _begin(self) -> None:
        self._headers = {}

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        name = self._name.decode("latin-1").strip().lower()
        self._headers.setdefault(name, self._value.decode("latin-1").strip())
        self._name, self._value = b"", b""

    def _end_headers(self) -> None:
        self.found.append(self._headers)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self.found.append(data[start:end])

    def _end_part(self) -> None:
        self.found.append(None)

    def _end(self) -> None:
        self.is_over = True

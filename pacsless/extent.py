"""Bytes to send that lie in a file, in one piece or in several, and the answer that has them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import quote

from werkzeug.wrappers import Response

from pacsless.conditional import conditional, tag_of
from pacsless.dicom.dataset import BulkValue
from pacsless.errors import NotFound, Unprocessable
from pacsless.web import Request, plain

if TYPE_CHECKING:
    from pacsless.archive import Archive, Stat

VARY: Final = {"Vary": "Accept"}

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Extent:
    """Pieces of a file, sent as one."""

    file: BinaryIO
    pieces: Sequence[tuple[int, int]]
    """Offset and length of each."""

    @property
    def length(self) -> int:
        """Bytes in all."""
        return sum(length for _, length in self.pieces)

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `stop`, counted over all pieces.

        Raises
        ------
        Unprocessable
            If the file ends before the pieces do.
        """
        stop = self.length if stop is None else stop
        before = 0
        for offset, length in self.pieces:
            begin, end = max(start - before, 0), min(stop - before, length)
            before += length
            while begin < end:
                self.file.seek(offset + begin)
                chunk = self.file.read(min(_CHUNK, end - begin))
                if not chunk:
                    raise Unprocessable("truncated", "the stored file ends inside the value")
                begin += len(chunk)
                yield chunk


def whole(file: BinaryIO) -> Extent:
    """All of a file."""
    return Extent(file, [(0, file.seek(0, io.SEEK_END))])


def value_extent(file: BinaryIO, value: BulkValue | bytes) -> Extent:
    """Return where a value is: in the file, which is closed if it need not be read.

    Raises
    ------
    Unprocessable
        If the file is shorter than it says, or the value is a sequence of fragments.
    """
    if isinstance(value, bytes):
        file.close()
        return whole(io.BytesIO(value))
    if value.length is None:
        raise Unprocessable("fragments", "the value is a sequence of fragments and has no bytes")
    if value.offset + value.length > file.seek(0, io.SEEK_END):
        raise Unprocessable("truncated", "the stored file ends inside the value")
    return Extent(file, [(value.offset, value.length)])


def extent_response(
    request: Request, body: Extent, content_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Stream pieces of a file by themselves, or the range of them that is asked for.

    The file is closed with the response.
    """
    headers = {**VARY, "Accept-Ranges": "bytes", **(headers or {})}
    total = body.length
    asked = request.http.range if request.http.method == "GET" else None  # RFC 9110 §14.2
    # RFC 9110 §13.1.5: a range is of what the client has the rest of, or all is sent.
    wanted = request.http.headers.get("If-Range")
    if wanted is not None and wanted.strip() != headers.get("ETag"):
        asked = None
    # One range only: RFC 9110 §14.2 lets a server ignore the header.
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        response = Response(body.read(), 200, headers, content_type=content_type)
        response.content_length = total
    elif (found := asked.range_for_length(total)) is None:
        body.file.close()
        return plain(
            416, "The range begins after the end.", headers | {"Content-Range": f"bytes */{total}"}
        )
    else:
        start, stop = found
        response = Response(body.read(start, stop), 206, headers, content_type=content_type)
        response.content_length = stop - start
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{total}"
    response.call_on_close(body.file.close)
    return response


def accel(
    request: Request,
    archive: Archive,
    key: str,
    content_type: str,
    headers: Mapping[str, str] | None = None,
    *,
    size: int | None = None,
) -> Response:
    """Answer with a file of the archive, byte for byte.

    Behind nginx the answer is a redirect to ``/internal/archive/<key>``, and nginx
    sends the bytes, with an ETag and ranges of its own; else they are streamed from
    here, likewise. `size` is the file's length, if the archive has just told it.

    Raises
    ------
    NotFound
        If there is no such file.
    """
    if request.accelerated and archive.is_local:
        if size is None:
            _require(archive, key)
        response = Response(None, 200, headers, content_type=content_type)
        response.headers["X-Accel-Redirect"] = f"/internal/archive/{quote(key)}"
        return response
    found = _require(archive, key)
    told = dict(headers or {})
    if "ETag" not in told:
        tag = tag_of(found.key, found.size, found.modified, content_type)
        told, current = conditional(request, told, tag)
        if current:
            return current
    return extent_response(request, whole(archive.open(key, found)), content_type, told)


def _require(archive: Archive, key: str) -> Stat:
    found = archive.stat(key)
    if found is None:
        raise NotFound("no-such-object", "there is no such object")
    return found

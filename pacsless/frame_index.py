"""Finding the frames of an original by its index, which `transcode` has made of it.

What is asked for often is in the cache: the header, and the records in blocks. An index
that is not there, or is of another original, costs a walk through the file, no more.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pacsless.dicom.frame_index import HEADER_BYTES, IndexHeader, write_index
from pacsless.dicom.frame_records import RECORD_BYTES, BadRecord, FrameRecords
from pacsless.errors import NotFound

if TYPE_CHECKING:
    from pacsless.archive import Archive
    from pacsless.cache import Cache
    from pacsless.dicom.frames import FrameTable
    from pacsless.instances import Stored

_BLOCK: Final = 256 * RECORD_BYTES
"""Bytes of records that are read and kept together: a viewer asks for the next frame next."""
_KEPT: Final = 20_000
"""Records of a file without an index that are worth a cache's memory, 16 bytes each."""
_KIND: Final = "frames-1"
"""Of facts in the cache: with the number of the index's form."""


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """The index of one original, wherever some of it is.

    Parameters
    ----------
    archive, cache
        Where it may be.
    stored
        The original.
    walk
        Finds the frames without it.
    """

    archive: Archive
    cache: Cache
    stored: Stored
    walk: Callable[[], FrameTable]

    def remembered(self) -> FrameTable | None:
        """Return the table by what the cache has."""
        data = self._cached(self.stored.version)
        header = IndexHeader.read(data)
        if header is None:
            return None
        if len(data) == HEADER_BYTES:
            return self._table(header)
        return header.table(FrameRecords.packed(data[HEADER_BYTES:], header.size))

    def find(self) -> FrameTable | None:
        """Return the table by the index in the archive, if there is one of this original."""
        try:
            data = self.archive.read(self.stored.identity.frame_index_key, 0, HEADER_BYTES)
        except NotFound:
            return None
        header = IndexHeader.read(data)
        if header is None or not header.count or not self._is_current(header):
            return None
        self._remember(self.stored.version, data)
        return self._table(header)

    def remember(self, table: FrameTable) -> None:
        """Keep what a walk has found, if it is not too much."""
        if table.records is None or table.records.count <= _KEPT:
            data = write_index(table, self.stored.size, self.stored.modified)
            self._remember(self.stored.version, data)

    def _is_current(self, header: IndexHeader) -> bool:
        if header.size != self.stored.size:
            return False
        if header.modified == self.stored.modified:
            return True
        # A listing of S3 has other times than the object itself.
        stat = self.archive.stat(self.stored.identity.key)
        return stat is not None and (stat.size, stat.modified) == (header.size, header.modified)

    def _table(self, header: IndexHeader) -> FrameTable:
        if not header.count:
            return header.table(None)
        return header.table(_Records(self, header))

    def _remember(self, key: str, data: bytes) -> None:
        value = b64encode(data).decode()
        self.cache.put(self.stored.identity.tenant_id, _KIND, key, value)

    def _cached(self, key: str) -> bytes:
        value = self.cache.get(self.stored.identity.tenant_id, _KIND, key)
        return b64decode(value) if isinstance(value, str) else b""

    def block(self, number: int, length: int) -> bytes:
        """Return a block of records."""
        key = f"{self.stored.version}:{number}"
        data = self._cached(key)
        if len(data) != length:
            data = self.records(number * _BLOCK, length)
            if len(data) == length:
                self._remember(key, data)
        return data

    def records(self, position: int, length: int) -> bytes:
        """Return records by one read."""
        key = self.stored.identity.frame_index_key
        return self.archive.read(key, HEADER_BYTES + position, length)


class _Records(FrameRecords):
    """The records of an index that lies in the archive; of the file itself once that is gone."""

    __slots__ = ("_block", "_index", "_walked")

    def __init__(self, index: FrameIndex, header: IndexHeader) -> None:
        super().__init__(self._find, header.count, header.size)
        self._index = index
        self._block = (-1, b"")
        self._walked: FrameTable | None = None

    def pieces(self, frame: int) -> list[tuple[int, int]]:
        if self._walked is None:
            try:
                return super().pieces(frame)
            except (NotFound, BadRecord):
                self._walked = self._index.walk()
        return self._walked.ranges(frame)

    def _find(self, position: int, length: int) -> bytes:
        number = position // _BLOCK
        if position + length > (number + 1) * _BLOCK:
            # A frame in very many pieces, or an unlucky one.
            return self._index.records(position, length)
        if self._block[0] != number:
            whole = min(_BLOCK, self.count * RECORD_BYTES - number * _BLOCK)
            self._block = number, self._index.block(number, whole)
        begin = position - number * _BLOCK
        return self._block[1][begin : begin + length]

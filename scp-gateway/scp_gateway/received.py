"""A data set on its way to the disk, with File Meta Information of ours before it."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from pacsless.archive import Archive, Incoming, Sealed
from pacsless.dicom.scan import Identifiers, scan, scan_head

_HEAD_BYTES: Final = 128 << 10


class Received:
    """An incoming file whose beginning is remembered.

    A data set of up to 128 KiB is written at once, when it is whole, and its
    identifiers are looked for in memory; so are those of most larger ones.

    Parameters
    ----------
    archive, owner
        Where the file lies, and whose it is.
    meta
        Preamble, prefix and File Meta Information.
    """

    def __init__(self, archive: Archive, owner: str, meta: bytes) -> None:
        self._archive = archive
        self._meta = meta
        self._incoming: Incoming | None = archive.incoming(owner)
        self._head = bytearray()
        self._is_whole = True
        """Whether the head is all there is."""

    def write(self, fragment: bytes | memoryview) -> None:
        """Take the next fragment of the data set."""
        assert self._incoming is not None
        if self._is_whole:
            if len(self._head) + len(fragment) <= _HEAD_BYTES:
                self._head += fragment
                return
            self._is_whole = False
            self._incoming.write(self._meta + self._head)
        self._incoming.write(fragment)

    def seal(self) -> Sealed:
        """Make the file durable and say what it is."""
        assert self._incoming is not None
        if self._is_whole:
            self._incoming.write(self._meta + self._head)
        sealed = self._incoming.seal()
        self._incoming = None
        return sealed

    def identifiers(self, sealed: Sealed, transfer_syntax: str) -> Identifiers:
        """Find the data set's identifiers.

        Raises
        ------
        ScanError
            If it is none.
        """
        found = scan_head(self._head, transfer_syntax)
        if found is not None:
            return found
        if self._is_whole:
            return scan(BytesIO(self._head), transfer_syntax)
        with open(self._archive.path_of(sealed), "rb") as file:
            file.seek(len(self._meta))
            return scan(file, transfer_syntax)

    def drop(self) -> None:
        """Remove the file unless it is sealed."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.__exit__(None, None, None)

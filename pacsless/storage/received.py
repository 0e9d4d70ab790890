"""A data set on its way to the disk, with what goes before it."""

from __future__ import annotations

from typing import Final

from pacsless.archive import Archive, Incoming, Sealed
from pacsless.dicom.scan import Identifiers, scan, scan_head

_HEAD_BYTES: Final = 64 << 10


class Received:
    """An incoming file whose beginning is remembered, as the identifiers are there.

    Parameters
    ----------
    archive, owner
        Where the file lies, and whose it is.
    meta
        Preamble, prefix and File Meta Information.
    """

    def __init__(self, archive: Archive, owner: str, meta: bytes) -> None:
        self._archive = archive
        self.offset = len(meta)
        """Of the first byte that is written here."""
        self._head = bytearray()
        self._incoming: Incoming | None = archive.incoming(owner)
        self._incoming.write(meta)

    def write(self, fragment: bytes | memoryview) -> None:
        """Take the next fragment of the data set."""
        assert self._incoming is not None
        missing = _HEAD_BYTES - len(self._head)
        if missing > 0:
            self._head += fragment[:missing]
        self._incoming.write(fragment)

    def seal(self, received_ns: int) -> Sealed:
        """Make the file durable, with the time it was received, and say what it is."""
        assert self._incoming is not None
        sealed = self._incoming.seal(received_ns)
        self._incoming = None
        return sealed

    def identifiers(self, sealed: Sealed, transfer_syntax: str) -> Identifiers:
        """Find the data set's identifiers: nearly always in its beginning.

        Raises
        ------
        ScanError
            If it is none.
        """
        found = scan_head(self._head, transfer_syntax)
        if found is not None:
            return found
        with open(self._archive.path_of(sealed), "rb") as file:
            file.seek(self.offset)
            return scan(file, transfer_syntax)

    def drop(self) -> None:
        """Remove the file unless it is sealed."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.__exit__(None, None, None)

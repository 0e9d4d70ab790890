"""Entries of metadata documents that this process has read already."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Self

from pacsless.dicom import document
from pacsless.dicom.document import Entry

if TYPE_CHECKING:
    from pacsless.settings import Settings


class EntryMemory:
    """Entries of the documents this process read last.

    A series that grows is described again and again, and parsing the entries
    it already has would cost more each time; a line seen before is known.

    Parameters
    ----------
    limit
        Bytes of documents to remember.
    """

    def __init__(self, limit: int = 64 << 20) -> None:
        self._limit = limit
        self._held = 0
        self._documents: OrderedDict[str, dict[bytes, Entry]] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, _settings: Settings) -> Self:
        """Start with no memory."""
        return cls()

    def entries(self, key: str, content: bytes) -> dict[str, Entry]:
        """Return the entries of the document at `key` by SOP Instance UID; damaged ones are not."""
        with self._lock:
            seen = self._documents.get(key, {})
        found = {}
        for line in document.lines(content):
            entry = seen.get(line)
            if entry is None:
                try:
                    entry = Entry.of_line(line)
                except ValueError:
                    continue  # damaged: the file is read again
            found[entry.sop_instance_uid] = entry
        self._remember(key, {entry.line: entry for entry in found.values()})
        return found

    def _remember(self, key: str, entries: dict[bytes, Entry]) -> None:
        with self._lock:
            self._held -= sum(map(len, self._documents.pop(key, ())))
            self._documents[key] = entries
            self._held += sum(map(len, entries))
            while self._held > self._limit:
                self._held -= sum(map(len, self._documents.popitem(last=False)[1]))

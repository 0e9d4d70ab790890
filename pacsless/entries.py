"""What instances say of themselves that somebody has read already.

Reading a file is most of what an instance costs, and on S3 two requests.
extract_tags and build_metadata want the same DICOM JSON of it within moments of
each other, either first; and a document that grows is described again and again.
What is not remembered is read from the file.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Self

from pacsless.dicom import document
from pacsless.dicom.document import Entry, order_of
from pacsless.strict_json import dumps, loads

if TYPE_CHECKING:
    from pacsless.archive import Stat
    from pacsless.cache import Cache
    from pacsless.events import Json
    from pacsless.settings import Settings

_KIND: Final = "entry"
_SECONDS: Final = 600
"""How long it waits in Redis: longer than a burst lags."""
_LARGEST: Final = 256 << 10
"""Bytes; Redis's memory is worth more than reading the few files that say more."""
_LEVEL: Final = 1
"""Of zlib: a CT's 10.7 KB become 2.6 in 0.05 ms, where parsing takes 1.3."""
_TIMEOUT: Final = 1.0
"""Seconds to wait for Redis: a batch is a megabyte, and no person waits."""


class EntryMemory:
    """Entries of the documents this process read last, and what others read of files just now.

    Parameters
    ----------
    cache
        Where processes leave it for each other; None for nowhere.
    limit
        Bytes of documents to remember.
    """

    def __init__(self, cache: Cache | None = None, limit: int = 64 << 20) -> None:
        self._cache = cache
        self._limit = limit
        self._held = 0
        self._documents: OrderedDict[str, dict[bytes, Entry]] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Start with no memory but what is in ``PACSLESS_REDIS``."""
        from pacsless.cache import Cache

        return cls(Cache.with_timeout(settings, _TIMEOUT))

    def entries(self, key: str, content: bytes) -> dict[str, Entry]:
        """Return the entries of the document at `key` by SOP Instance UID; damaged ones are not.

        A line seen before is known; parsing all of them would cost more each time.
        """
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

    def leave(self, tenant_id: str, read: Iterable[tuple[Stat, Json]]) -> None:
        """Leave what a tenant's files say for whoever would read them next."""
        if self._cache is not None:
            lines = ((file, dumps(attributes)) for file, attributes in read)
            packed = {
                _version(file): zlib.compress(line, _LEVEL)
                for file, line in lines
                if len(line) <= _LARGEST
            }
            self._cache.put_bytes(tenant_id, _KIND, packed, _SECONDS)

    def find(self, tenant_id: str, files: Sequence[Stat]) -> dict[str, Json]:
        """Return what was left of a tenant's files, by their keys."""
        if self._cache is None:
            return {}
        keys = {_version(file): file.key for file in files}
        found = {}
        for version, packed in self._cache.get_bytes(tenant_id, _KIND, list(keys)).items():
            try:
                attributes = loads(zlib.decompress(packed))
                order_of(attributes)
            except (zlib.error, ValueError, LookupError, TypeError, AttributeError):
                continue  # the file is read instead
            found[keys[version]] = attributes
        return found


def _version(file: Stat) -> str:
    # An original never changes, but one that is gone may be sent again otherwise.
    return f"{file.key}:{file.size}:{file.kept!r}"

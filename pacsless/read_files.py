"""What files say, passed from whoever has just read them to whoever would read them next.

Reading a file is most of what an instance costs, and on S3 two requests;
extract_tags and build_metadata want the same of it within moments of each other,
and either may be first. What is not here is read from the file.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Self

from pacsless.cache import Cache
from pacsless.dicom.document import identifiers_of, order_of
from pacsless.dicomweb import dicomweb_root
from pacsless.identity import InstanceIdentity
from pacsless.strict_json import loads

if TYPE_CHECKING:
    from pacsless.archive import Stat
    from pacsless.events import Json
    from pacsless.settings import Settings

_FORM: Final = 1
"""To be raised by whatever changes the DICOM JSON of a file: in an update, processes of
both versions are at work."""
_SECONDS: Final = 600
"""How long it waits in Redis: longer than a burst lags."""
_LARGEST: Final = 64 << 10
"""Bytes; Redis's memory is worth more than reading the few files that say more."""
_LEVEL: Final = 1
"""Of zlib: a CT's 10.7 KB become 2.6 in 0.05 ms, where parsing takes 1."""
_TIMEOUT: Final = 1.0
"""Seconds to wait for Redis: a batch is some hundred kilobytes, and no person waits."""


class ReadFiles:
    """DICOM JSON of files that were read just now, by anybody.

    It is a patient's record, and waits in Redis under a key that names the tenant and
    which file it was: its key, size and time.

    Parameters
    ----------
    settings
        Of the process: what is read depends on the address it is served under.
    cache
        Where it waits.
    """

    def __init__(self, settings: Settings, cache: Cache) -> None:
        self._settings, self._cache = settings, cache

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Pass it by ``PACSLESS_REDIS``."""
        return cls(settings, Cache.from_settings(settings, _TIMEOUT))

    def find(self, tenant_id: str, files: Sequence[Stat]) -> dict[str, tuple[Json, bytes]]:
        """Return what was left of a tenant's files, by their keys; ask of some at a time.

        Returns
        -------
        dict
            Key to DICOM JSON, and the line of a document that it was left as.
        """
        keys = {_version(file): file.key for file in files}
        found = {}
        packed = self._cache.get_bytes(tenant_id, self._kind(tenant_id), list(keys))
        for version, value in packed.items():
            left = _unpacked(value, keys[version])
            if left is not None:
                found[keys[version]] = left
        return found

    def wants(self, file: Stat) -> bool:
        """Whether to leave what a file says: somebody else may still ask for it.

        A rebuild of old files would fill Redis for nothing.
        """
        return self._cache.is_shared and file.kept > time.time() - _SECONDS

    def leave(self, tenant_id: str, read: Iterable[tuple[Stat, bytes]]) -> None:
        """Leave what a tenant's files say, as lines of a document, for whoever comes next."""
        packed = {
            _version(file): zlib.compress(line, _LEVEL)
            for file, line in read
            if len(line) <= _LARGEST
        }
        self._cache.put_bytes(tenant_id, self._kind(tenant_id), packed, _SECONDS)

    def _kind(self, tenant_id: str) -> str:
        root = dicomweb_root(self._settings, tenant_id)
        return f"file-{_FORM}-{hashlib.sha256(root.encode()).hexdigest()[:8]}"


def _version(file: Stat) -> str:
    # An original never changes, but one that is gone may be sent again otherwise.
    return f"{file.key}:{file.size}:{file.kept!r}"


def _unpacked(packed: bytes, key: str) -> tuple[Json, bytes] | None:
    """What was left, if it is of that file; whatever else lies there, the file is read."""
    try:
        line = zlib.decompressobj().decompress(packed, _LARGEST + 1)
        if len(line) > _LARGEST:
            return None
        attributes: Json = loads(line)
        order_of(attributes)
        if identifiers_of(attributes) != InstanceIdentity.of_key(key).uids:
            return None
        if not all(isinstance(one, dict) for one in attributes.values()):
            return None
    except (zlib.error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return attributes, line

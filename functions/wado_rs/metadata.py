"""Retrieve metadata of a study, a series or an instance (PS3.18 §10.4.1.1.2).

The documents build_metadata stores are sent as they are, as long as they
account for every file there is. Otherwise the answer is made here and now: a
reader never misses an acknowledged instance because a queue is long. Only
files are asked, so neither PostgreSQL nor Redis has to be up. The documents are
DICOM JSON; XML is made of their entries while it is sent.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import time
from typing import BinaryIO, Final

from werkzeug.wrappers import Response

from pacsless.archive import Archive, Stat
from pacsless.cache import Cache
from pacsless.conditional import PRIVATE, conditional
from pacsless.dicom import document
from pacsless.entries import EntryMemory
from pacsless.errors import NotFound, Unprocessable
from pacsless.extent import VARY, accel
from pacsless.identity import InstanceIdentity, SeriesIdentity, study_metadata_key
from pacsless.instances import find_instance
from pacsless.metadata import (
    describe_instance,
    describe_series,
    originals,
    read_document,
)
from pacsless.negotiation import Representation
from pacsless.representations import ATTRIBUTES, native_models
from pacsless.settings import Settings
from pacsless.web import Request, multipart_response

_SETTLED: Final = 2.0
"""Seconds after which a folder's time stamp tells every later change apart."""
_SEARCHED: Final = 4 << 20
"""Bytes of a series' document up to which finding an entry beats reading the instance."""


def retrieve_study_metadata(
    request: Request,
    study: str,
    *,
    archive: Archive,
    cache: Cache,
    settings: Settings,
    memory: EntryMemory,
) -> Response:
    """Send the metadata of every instance of a study."""
    chosen = request.accepted(ATTRIBUTES)
    tenant = request.tenant
    all_series = [
        SeriesIdentity(tenant, study, uid) for uid in sorted(archive.folders(f"{tenant}/{study}/"))
    ]
    there = sum(_files_in(archive, cache, series) for series in all_series)
    if not there:
        raise NotFound("no-such-study", "there is no such study")
    key = study_metadata_key(tenant, study)
    stat = _current(archive, cache, tenant, key, there)
    if stat is not None:
        return _send_document(request, archive, stat, chosen)
    parts = [_series_document(archive, cache, settings, series, memory) for series in all_series]
    return _send(request, document.join(parts), chosen)


def retrieve_series_metadata(
    request: Request,
    study: str,
    series: str,
    *,
    archive: Archive,
    cache: Cache,
    settings: Settings,
    memory: EntryMemory,
) -> Response:
    """Send the metadata of every instance of a series."""
    chosen = request.accepted(ATTRIBUTES)
    identity = SeriesIdentity(request.tenant, study, series)
    there = _files_in(archive, cache, identity)
    if not there:
        raise NotFound("no-such-series", "there is no such series")
    stat = _current(archive, cache, request.tenant, identity.metadata_key, there)
    if stat is not None:
        return _send_document(request, archive, stat, chosen)
    return _send(request, describe_series(archive, identity, settings, memory).content, chosen)


def retrieve_instance_metadata(
    request: Request,
    study: str,
    series: str,
    sop: str,
    *,
    archive: Archive,
    settings: Settings,
) -> Response:
    """Send the metadata of one instance."""
    chosen = request.accepted(ATTRIBUTES)
    identity = find_instance(archive, request.tenant, study, series, sop).identity
    entry = _stored_entry(archive, identity)
    if entry is None:
        entry = describe_instance(archive, identity, settings).line
    return _send(request, b"[" + entry + b"]", chosen)


def _stored_entry(archive: Archive, identity: InstanceIdentity) -> bytes | None:
    """Originals never change, so an entry is right in however old a document."""
    key = identity.series.metadata_key
    stat = archive.stat(key)
    if stat is None or stat.size > _SEARCHED:
        return None
    try:
        return document.find(read_document(archive, key) or b"[]", identity.sop_instance_uid)
    except ValueError:
        return None  # a damaged document: the file is read


def _series_document(
    archive: Archive,
    cache: Cache,
    settings: Settings,
    series: SeriesIdentity,
    memory: EntryMemory,
) -> bytes:
    there = _files_in(archive, cache, series)
    if _current(archive, cache, series.tenant_id, series.metadata_key, there) is not None:
        stored = read_document(archive, series.metadata_key)
        if stored is not None and document.count(stored) == there:
            return stored
    return describe_series(archive, series, settings, memory).content


def _files_in(archive: Archive, cache: Cache, series: SeriesIdentity) -> int:
    """Count the originals of a series.

    On a file system a folder's time stamp changes with its entries, so the
    count is remembered under it; not while it is so young that two changes
    could share it.
    """
    folder = archive.local_path(series.folder)
    if folder is None:
        return len(originals(archive, series))
    try:
        changed = folder.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0
    version = f"{series.folder}:{changed}"
    known = cache.get(series.tenant_id, "files", version)
    if isinstance(known, int):
        return known
    found = len(originals(archive, series))
    if time.time() - changed / 1e9 > _SETTLED:
        cache.put(series.tenant_id, "files", version, found)
    return found


def _current(archive: Archive, cache: Cache, tenant: str, key: str, there: int) -> Stat | None:
    """Return a stored document if it accounts for as many originals as there are."""
    stat = archive.stat(key)
    if stat is None:
        return None
    version = f"{key}:{stat.size}:{stat.modified}"
    counted = cache.get(tenant, "document", version)
    if not isinstance(counted, int):
        counted = document.count(read_document(archive, key) or b"")
        cache.put(tenant, "document", version, counted)
    return stat if counted == there else None


def _send_document(
    request: Request, archive: Archive, stat: Stat, chosen: Representation
) -> Response:
    """Send a stored document; nginx adds compression, ETag and 304 to JSON by itself."""
    version = f"{stat.size:x}-{stat.modified:.6f}"
    if chosen.multipart:
        return _send_native_models(request, archive.open(stat.key), version)
    headers = {"Vary": "Accept, Accept-Encoding", **PRIVATE}
    if request.accelerated and archive.is_local:
        return accel(request, archive, stat.key, chosen.content_type, headers, size=stat.size)
    key, tag = stat.key, version
    if request.http.accept_encodings["gzip"] and archive.stat(f"{key}.gz") is not None:
        key, tag = f"{key}.gz", f"{tag}-gzip"
        headers["Content-Encoding"] = "gzip"
    headers, current = conditional(request, headers, tag)
    if current:
        return current
    return accel(request, archive, key, chosen.content_type, headers)


def _send(request: Request, content: bytes, chosen: Representation) -> Response:
    """Send what was made just now; its ETag is its digest."""
    digest = hashlib.sha256(content).hexdigest()[:32]
    if chosen.multipart:
        return _send_native_models(request, io.BytesIO(content), digest)
    headers, current = conditional(request, {"Vary": "Accept, Accept-Encoding"}, digest)
    return current or Response(content, 200, headers, content_type=chosen.content_type)


def _send_native_models(request: Request, content: BinaryIO, version: str) -> Response:
    """Send a document as XML, entry by entry, and close it.

    The ETag is a weak one: the boundary is another each time.
    """
    headers, current = conditional(request, VARY, f"{version}-xml", weak=True)
    if current:
        content.close()
        return current
    entries = document.read_lines(content)
    first = next(entries, None)
    if first is None:
        content.close()
        # A body of no parts is none (RFC 2046 §5.1.1).
        raise Unprocessable("unreadable", "none of the files can be read as DICOM")
    response = multipart_response(native_models(itertools.chain([first], entries)), headers)
    response.call_on_close(content.close)
    return response

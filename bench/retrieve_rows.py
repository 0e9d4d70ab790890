"""What is read, by how many clients, and what the design asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.stored import Stored

ORTHANC, STATIC = "orthanc", "nginx"
CLIENTS = (1, 8, 32)
_WALKED = 100
"""Instances that clients go through, so that none is answered from what the last one left."""
_DICOM_JSON = "application/dicom+json"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of answer.

    Attributes
    ----------
    key
        In the JSON, and for ``--only``.
    title
        In the tables.
    paths
        That clients go through, below DICOMweb's root.
    headers
        Of each request.
    entries
        How many elements the answer has if it is a JSON array, to be checked.
    size
        Least bytes of an answer that is none.
    most_clients
        Of large answers; more at a time would measure patience.
    """

    key: str
    title: str
    paths: Sequence[str]
    headers: Mapping[str, str]
    entries: int = 0
    size: int = 0
    most_clients: int = 32


@dataclass(frozen=True, slots=True)
class Row:
    """What is read, and by how many clients at a time."""

    resource: str
    clients: int


@dataclass(frozen=True, slots=True)
class Bar:
    """What must be reached, and what is aimed at, as ratios to peers; at any number of clients."""

    resource: str
    clients: int
    must: float
    aims: tuple[tuple[float, str], ...]
    must_peer: str = field(default=ORTHANC)


BARS = (
    Bar("metadata-1000", 8, 5.0, ((15.0, ORTHANC),)),
    Bar("metadata-1000-gzip", 8, 15.0, ((30.0, ORTHANC),)),
    Bar("instance-metadata", 8, 4.0, ((10.0, ORTHANC),)),
    Bar("instance", 8, 2.0, ((3.0, ORTHANC), (0.6, STATIC))),
    Bar("frame", 8, 2.0, ((3.0, ORTHANC),)),
    Bar("rendered", 8, 1.0, ((3.0, ORTHANC),)),
    Bar("study", 8, 1.5, ((2.5, ORTHANC),)),
    Bar("studies", 8, 0.4, ((1.0, ORTHANC),)),
)


def resources(stored: Mapping[str, Stored]) -> list[Resource]:
    """Everything that is read of what is stored."""
    scan, long = stored["scan"], stored["long"]
    instances = scan.instance_paths()[:_WALKED]
    (long_path,) = long.instance_paths()
    counts = [name for name in stored if name.isdigit()]
    widest = stored[max(counts, key=int)]
    found = [
        Resource(
            f"metadata-{name}{'-gzip' if gzip else ''}",
            f"study metadata, {int(name):,} instances" + (", gzip" if gzip else ""),
            [f"{stored[name].path}/metadata"],
            {"Accept": _DICOM_JSON} | ({"Accept-Encoding": "gzip"} if gzip else {}),
            entries=int(name),
            most_clients=32 if int(name) < 2000 else 8,
        )
        for name in counts
        for gzip in (False, True)
    ]  # fmt: skip
    frame = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
    found += [
        Resource("instance-metadata", "one instance's metadata",
                 [f"{one}/metadata" for one in widest.instance_paths()[:_WALKED]],
                 {"Accept": _DICOM_JSON}, entries=1),
        Resource("instance", "instance, 525 KB", instances,
                 {"Accept": "application/dicom; transfer-syntax=*"}, size=scan.pixels),
        Resource("instance-multipart", "instance, 525 KB, multipart", instances,
                 {"Accept": _MULTIPART}, size=scan.pixels),
        Resource("frame", "frame, 525 KB", [f"{one}/frames/1" for one in instances],
                 frame, size=scan.pixels),
        Resource("first-frame", f"first of {long.frames} frames", [f"{long_path}/frames/1"],
                 frame, size=long.pixels),
        Resource("last-frame", f"last of {long.frames} frames",
                 [f"{long_path}/frames/{long.frames}"], frame, size=long.pixels),
        Resource("rendered", "rendered JPEG, 512 × 512", [f"{one}/rendered" for one in instances],
                 {"Accept": "image/jpeg"} | _ANEW, size=1000),
        Resource("rendered-again", "rendered JPEG, asked for before",
                 [f"{one}/rendered" for one in instances], {"Accept": "image/jpeg"}, size=1000),
        Resource("study", f"study of {len(scan.instances)} CTs", [scan.path],
                 {"Accept": _MULTIPART}, size=len(scan.instances) * scan.pixels, most_clients=8),
        Resource("studies", "QIDO study query", ["/studies?limit=25"],
                 {"Accept": _DICOM_JSON}, entries=len(stored)),
    ]  # fmt: skip
    return found


_ANEW = {"Cache-Control": "no-cache"}
"""Makes nginx ask for a picture anew; others have no cache of them."""
_MULTIPART = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def rows(found: Sequence[Resource], clients: Sequence[int]) -> list[Row]:
    """Every resource by every number of clients it can have."""
    return [Row(one.key, count) for one in found for count in clients if count <= one.most_clients]


def complaint(resource: Resource, status: int, body: bytes, decoded: Any) -> str:
    """What is wrong with an answer, or nothing.

    Parameters
    ----------
    resource
        What was asked for.
    status, body
        What came, its content coding undone.
    decoded
        The body as JSON, if it is to be.
    """
    if status != 200:
        return f"status {status}"
    if resource.entries:
        count = len(decoded) if isinstance(decoded, list) else -1
        return "" if count == resource.entries else f"{count} entries, not {resource.entries}"
    return "" if len(body) >= resource.size else f"{len(body)} bytes, not {resource.size}"

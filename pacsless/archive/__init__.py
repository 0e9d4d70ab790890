"""Where files live: originals, metadata and renditions, on disk or on S3.

Keys are relative paths such as ``default/1.2/1.3/1.4.dcm``. An original is
written once, in three steps the gateway's acknowledgement is made of (DECISIONS.md,
"0x0000 means durable"): `Archive.incoming` streams it to a temporary file,
`Incoming.seal` makes that durable, `Archive.keep` gives it its key without ever
replacing anything. What can be rebuilt (metadata, renditions) is replaced
atomically by `Archive.replace`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Protocol
from urllib.parse import unquote, urlsplit

from pacsless.errors import PacslessError, Unavailable
from pacsless.settings import InvalidSetting, Settings

_BLOCK: Final = 1 << 20


class AlreadyKept(PacslessError):
    """The key is taken; nothing was replaced."""


class ArchiveUnavailable(Unavailable):
    """The archive cannot store or answer now."""


class ArchiveUnfit(PacslessError):
    """The store does not do what acknowledgements rest on."""


class OpenFile:
    """A file without a name, while it is open; closing it twice closes nothing else."""

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def close(self) -> None:
        """Close it. Its data is durable, or wanted by nobody, so an error changes nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A received file that is durable but has no key yet."""

    name: str
    """Name among the incoming files, which survives a restart; empty if it has none."""
    size: int
    sha256: str
    """Of the whole file, hexadecimal."""
    file: OpenFile | None = field(default=None, compare=False)
    """Of one without a name: open until it is kept or discarded."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What the archive knows of a key."""

    key: str
    size: int
    modified: float
    """Seconds since the epoch. Of an original: when it was received, to the microsecond."""
    kept: float
    """Seconds since the epoch: when it got its key or, on a disk, was last touched. An
    object is received for as long as its sender takes, and nobody knows of it until then."""


class Incoming(Protocol):
    """A file being received. Use it as a context manager: what is not sealed is removed."""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append `data`, hashing it."""
        ...

    def seal(self, received_ns: int | None = None) -> Sealed:
        """Make the file durable (fsync) and say what it is.

        Parameters
        ----------
        received_ns
            When it was received, in nanoseconds since the epoch: the archive keeps
            it as the time of modification, and a rebuild reads it back.

        Raises
        ------
        ArchiveUnavailable
            If the disk refuses. An fsync is never retried: after a failure the
            kernel may have dropped the pages and a second one lies.
        """
        ...

    def __enter__(self) -> Incoming: ...

    def __exit__(self, *exc: object) -> None: ...


class Archive(Protocol):
    """The store of files."""

    def incoming(self, owner: str = "") -> Incoming:
        """Open a temporary file beside the archive's own; `owner` may sweep it."""
        ...

    def probe(self) -> None:
        """Try out what the promises of this archive rest on.

        Raises
        ------
        ArchiveUnfit
            If the store does not do it; says what.
        ArchiveUnavailable
            If that cannot be tried out now.
        """
        ...

    def sealed(self, name: str) -> Path | None:
        """Return the path of a sealed file that was left without a key, if it is there."""
        ...

    def path_of(self, sealed: Sealed) -> Path:
        """Path to read a sealed file by, until it is kept or discarded."""
        ...

    def keep(self, sealed: Sealed, key: str) -> None:
        """Give a sealed file its key, durably; it is done with then.

        Raises
        ------
        AlreadyKept
            If the key is taken. The sealed file stays until `discard`.
        ArchiveUnavailable
            If the store refuses.
        """
        ...

    def discard(self, sealed: Sealed) -> None:
        """Remove a sealed file that gets no key."""
        ...

    def sweep(self, older_than: float, owner: str = "") -> int:
        """Remove incoming files, of `owner` or of anybody, older than `older_than` seconds.

        Returns
        -------
        int
            How many were removed.
        """
        ...

    def open(self, key: str, known: Stat | None = None) -> BinaryIO:
        """Open a file for reading; seekable.

        Parameters
        ----------
        key
            Which.
        known
            What `stat` or `list` said of it just now, to spare asking again; then
            it may be the first read that raises.

        Raises
        ------
        NotFound
            If there is none.
        ArchiveUnavailable
            If the store does not answer.
        """
        ...

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Read a piece of a file, on S3 by one request; it is shorter where the file ends.

        Raises
        ------
        NotFound
            If there is no such file.
        ArchiveUnavailable
            If the store does not answer.
        """
        ...

    def stat(self, key: str) -> Stat | None:
        """Size and age of a file, or None."""
        ...

    def replace(self, key: str, data: bytes) -> None:
        """Write or replace a derived file; a reader sees the old one or the new one, whole."""
        ...

    def list(self, prefix: str) -> Iterator[Stat]:
        """Files below a folder (``default/1.2/``), recursively, in no order."""
        ...

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders directly below a folder."""
        ...

    def remove(self, key: str) -> None:
        """Remove a file, durably; nothing happens if there is none."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether files lie on this disk, where nginx can serve them from."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Path of a file, or None if it is not on this disk."""
        ...


def size_and_sha256(file: BinaryIO) -> tuple[int, str]:
    """Read a file to its end; the digest is hexadecimal."""
    size, digest = 0, hashlib.sha256()
    while block := file.read(_BLOCK):
        size += len(block)
        digest.update(block)
    return size, digest.hexdigest()


def open_archive(settings: Settings) -> Archive:
    """Open the archive named by ``PACSLESS_ARCHIVE``.

    Raises
    ------
    InvalidSetting
        If the address is neither ``file:`` nor ``s3:``.
    """
    address = urlsplit(settings.archive)
    match address.scheme:
        case "file":
            from pacsless.archive.files import FileArchive

            return FileArchive(Path(unquote(address.netloc + address.path)))
        case "s3":
            from pacsless.archive.s3 import S3Archive

            return S3Archive(
                address.netloc,
                address.path.strip("/"),
                Path(settings.spool) / "incoming",
                settings.s3_endpoint or None,
            )
        case _:
            raise InvalidSetting(
                "setting", "PACSLESS_ARCHIVE must be file:///folder or s3://bucket/prefix"
            )

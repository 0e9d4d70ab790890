"""Giving an object its key, or finding out whether it is the same as the one that has it."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import BinaryIO, Final

from pacsless.archive import AlreadyKept, Archive, ArchiveUnavailable, Sealed
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.scan import ScanError
from pacsless.errors import NotFound
from pacsless.identity import InstanceIdentity
from pacsless.storage.deletion import remove_deleted
from pacsless.tombstones import is_file_deleted

_BLOCK: Final = 1 << 20
_TRIES: Final = 16
"""To take a key whose file is deleted each time; a link that leads nowhere is no file, ever."""


def keep(
    archive: Archive,
    identity: InstanceIdentity,
    sealed: Sealed,
    data_set_offset: int,
    received_at: str,
) -> Sealed | None:
    """Give a sealed file its key, unless another has it.

    Parameters
    ----------
    archive, identity
        Where, and whose key.
    sealed, data_set_offset, received_at
        The file, where its data set begins, and when it was received.

    Returns
    -------
    Sealed or None
        The file itself, if it has its key now; size and digest of the one that was there,
        if both data sets are the same; None if they are not.

    Raises
    ------
    ArchiveUnavailable
        If the store refuses.
    """
    for _ in range(_TRIES):
        try:
            archive.keep(sealed, identity.key)
        except AlreadyKept:
            # Whoever deletes the other may have been killed, and whoever comes next removes it:
            # nobody may rest on it.
            if remove_deleted(archive, identity):
                continue
            with suppress(NotFound):  # it was deleted a moment ago
                return compare(archive, identity.key, sealed, data_set_offset)
        except ArchiveUnavailable:
            # Unless it had its key, and was deleted before that was known here.
            if not is_file_deleted(archive, identity, received_at):
                raise
            archive.discard(sealed)
            return sealed
        else:
            return sealed
    raise ArchiveUnavailable("key-taken", "the key is taken by something that cannot be read")


def compare(archive: Archive, key: str, sealed: Sealed, data_set_offset: int) -> Sealed | None:
    """Compare the data set of a sealed file with that of a kept one, byte by byte.

    The File Meta Information does not count: whoever stored the first object
    may have written another.

    Parameters
    ----------
    archive
        Where both are.
    key
        Of the first object.
    sealed, data_set_offset
        The second, and where its data set begins.

    Returns
    -------
    Sealed or None
        Size and digest of the first object if both are the same.
    """
    with open(archive.path_of(sealed), "rb") as second, archive.open(key) as first:
        second.seek(data_set_offset)
        try:
            offset = split_part10(first).dataset_offset
        except ScanError:
            return None  # the first was damaged on the disk; the second is kept aside
        first.seek(0)
        digest = hashlib.sha256(first.read(offset))
        size = offset
        while block := _read(second):
            other = _read(first)
            if block != other:
                return None
            digest.update(other)
            size += len(other)
        if first.read(1):
            return None
        return Sealed(sealed.name, size, digest.hexdigest())


def _read(file: BinaryIO) -> bytes:
    """Read a whole block: one of S3 may come in pieces."""
    block = file.read(_BLOCK)
    while len(block) < _BLOCK and (more := file.read(_BLOCK - len(block))):
        block += more
    return block

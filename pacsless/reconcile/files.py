"""An original as the event that once told of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from pacsless.archive import Archive, ArchiveUnavailable, Stat, size_and_sha256
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.scan import scan
from pacsless.errors import InvalidIdentity, NotFound, Unprocessable
from pacsless.events import InstanceStored
from pacsless.identity import InstanceIdentity
from pacsless.tombstones import received_at

VIA: Final = "rebuild"


class Altered(Unprocessable):
    """A file has another digest than its row."""


class Unreadable(Unprocessable):
    """A file cannot be read, and the archive answers otherwise."""


@contextlib.contextmanager
def _reading(archive: Archive) -> Iterator[None]:
    """Tell a file that cannot be read from an archive that does not answer.

    A bad sector under one file must not keep a sweep from all others; but an
    archive that is gone has no unreadable files.
    """
    try:
        yield
    except (OSError, ArchiveUnavailable) as error:
        next(iter(archive.folders("")), None)
        raise Unreadable("unreadable", "the file cannot be read") from error


def studies(archive: Archive, tenant_id: str) -> list[str]:
    """Return the Study Instance UIDs a tenant has files of, sorted."""
    return sorted(archive.folders(f"{tenant_id}/"))


def files_of(
    archive: Archive, tenant_id: str, study_instance_uid: str
) -> Iterator[tuple[InstanceIdentity | None, Stat]]:
    """Yield the files of a study; the identity is None where the name is not an original's."""
    for stat in archive.list(f"{tenant_id}/{study_instance_uid}/"):
        try:
            yield InstanceIdentity.of_key(stat.key), stat
        except InvalidIdentity:
            yield None, stat


def tombstones_of(
    archive: Archive, tenant_id: str, study_instance_uid: str
) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield series and SOP Instance UID of what was deleted from a study, and when."""
    for stat in archive.list(f"tombstones/{tenant_id}/{study_instance_uid}/"):
        _, _, _, series, name = stat.key.split("/")
        yield (series, name.removesuffix(".json")), stat.kept


def digest_of(archive: Archive, key: str) -> str:
    """Read a file and return its SHA-256, hexadecimal.

    Raises
    ------
    NotFound
        If there is none.
    Unreadable
        If it cannot be read.
    ArchiveUnavailable
        If nothing can.
    """
    with _reading(archive), archive.open(key) as file:
        return size_and_sha256(file)[1]


def stored_event(
    archive: Archive, identity: InstanceIdentity, known: str | None = None
) -> InstanceStored:
    """Make from a file the event the gateway published when it stored it.

    It has the same id. What only the connection knew is empty.

    Parameters
    ----------
    archive, identity
        Where, and which.
    known
        Digest the ledger has of it. A file that has changed since is announced to
        nobody: the index would take its new digest for the right one.

    Raises
    ------
    Altered
        If the file has another digest.
    NotFound
        If there is no such file.
    Unprocessable
        If it does not say whose it is, or is another instance than its path says.
    Unreadable
        If it cannot be read.
    ArchiveUnavailable
        If nothing can.
    """
    with _reading(archive):
        stat = archive.stat(identity.key)
    if stat is None:
        raise NotFound("no-such-key", "no such file in the archive")
    with _reading(archive), archive.open(identity.key) as file:
        size, sha256 = size_and_sha256(file)
        if known is not None and sha256 != known:
            raise Altered("altered", "the file is not what was received")
        file.seek(0)
        syntax = split_part10(file).transfer_syntax
        found = scan(file, syntax)
    said = (found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid)
    path = (identity.study_instance_uid, identity.series_instance_uid, identity.sop_instance_uid)
    if said != path:
        raise Unprocessable("misplaced", "the data set is of another instance than its path")
    return InstanceStored(
        tenant_id=identity.tenant_id,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        sop_instance_uid=identity.sop_instance_uid,
        transfer_syntax=syntax,
        patient_id=found.patient_id,
        file_name=f"{identity.sop_instance_uid}.dcm",
        file_size=size,
        file_path=identity.key,
        sha256=sha256,
        received_at=received_at(stat),
        via=VIA,
        calling_ae_title="",
        called_ae_title="",
        remote_address="",
    )

"""Transactions: files in ``<spool>/commitments`` that outlive every process.

``<name>.request`` is written once. ``<name>.result`` stands beside it as soon
as the result is known, so that whoever reports it repeats the same one. A name
is four digests, of the tenant, of the calling AE title, of the Transaction UID
and of the references: the same request again is the same file, and one with the
same Transaction UID but other references is found without reading any.

Whoever works on a transaction holds an flock(2) on its request file. The
kernel gives it back when its holder dies, however it does.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pacsless.durable import make_folder, put, sync_folder, write
from pacsless.errors import Unavailable
from pacsless.storage import Sender
from scp_gateway.storage_commitment.commitment import (
    Commitment,
    Result,
    from_bytes,
    name_of,
    read_result,
    same_transaction,
    to_bytes,
    write_result,
)
from scp_gateway.storage_commitment.limits import Limits
from scp_gateway.storage_commitment.report import FailureReason
from scp_gateway.storage_commitment.request import Request

_REQUEST: Final = ".request"
_RESULT: Final = ".result"
_ASIDE: Final = "undelivered"
_FORGOTTEN_SECONDS: Final = 3600.0
_KEPT_SECONDS: Final = 30 * 86_400.0
_KEPT_FILES: Final = 1_000


class Held:
    """A transaction that nobody else works on until `release`, `done` or `give_up`."""

    def __init__(self, folder: Path, name: str, descriptor: int) -> None:
        self.name = name
        self._folder = folder
        self._descriptor = descriptor

    def load(self) -> Commitment:
        """Read the request.

        Raises
        ------
        Damaged
            If it is not what was written.
        """
        return from_bytes(self.name, (self._folder / (self.name + _REQUEST)).read_bytes())

    def result(self, commitment: Commitment) -> Result | None:
        """The result, if it is known."""
        try:
            content = (self._folder / (self.name + _RESULT)).read_bytes()
        except FileNotFoundError:
            return None
        return read_result(commitment, content)

    def decide(self, commitment: Commitment, failures: Mapping[int, int]) -> Result:
        """Write the result down, durably; there is no other one from now on."""
        result = Result(time.time(), dict(failures))
        put(self._folder, self.name + _RESULT, write_result(commitment, result))
        return result

    def done(self) -> None:
        """Remove the transaction: the SCU has its result."""
        # The request first: a result without one is nobody's, but a request
        # without its result would be checked again.
        (self._folder / (self.name + _REQUEST)).unlink(missing_ok=True)
        (self._folder / (self.name + _RESULT)).unlink(missing_ok=True)
        sync_folder(self._folder)
        self.release()

    def give_up(self) -> None:
        """Move the transaction aside, to ``undelivered``."""
        aside = self._folder / _ASIDE
        for kind in (_RESULT, _REQUEST):
            try:
                os.replace(self._folder / (self.name + kind), aside / (self.name + kind))
            except FileNotFoundError:
                continue  # it has no result, or a crash came between the two
        sync_folder(aside)
        sync_folder(self._folder)
        self.release()

    def release(self) -> None:
        """Let others work on it."""
        if self._descriptor >= 0:
            # Closing is not enough where a child was forked meanwhile: the lock
            # belongs to what both have open.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1


class Transactions:
    """Every transaction that is not finished; any number of processes share them.

    Parameters
    ----------
    spool
        Folder on a durable local disk; transactions are in ``commitments`` in it.
    limits
        How many, and how much, before requests are declined.
    """

    def __init__(self, spool: Path, limits: Limits | None = None) -> None:
        self.folder = spool / "commitments"
        make_folder(self.folder / _ASIDE)
        self._limits = limits or Limits()

    def add(self, sender: Sender, request: Request) -> tuple[str, Held | None]:
        """Keep a request, durably; return its name and, unless it was there before, a hold on it.

        Raises
        ------
        Declined
            If there are too many transactions.
        Unavailable
            If the disk refuses.
        """
        commitment = Commitment(
            uuid.uuid4().hex,
            sender.tenant_id,
            sender.calling_ae_title,
            sender.called_ae_title,
            request.transaction_uid,
            request.references,
        )
        name = name_of(commitment)
        try:
            return name, self._add(name, commitment)
        except OSError as error:
            raise Unavailable(
                "spool", f"the spool refuses: {error.strerror or type(error).__name__}"
            ) from None

    def _add(self, name: str, commitment: Commitment) -> Held | None:
        content = to_bytes(commitment)
        temporary = self.folder / f".{uuid.uuid4().hex}"
        descriptor = write(temporary, content)
        kept = False
        try:
            # Before it can be seen, so that nobody takes it up in between.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with self._alone():
                if (self.folder / (name + _REQUEST)).exists():
                    # Its writer may not be this far yet.
                    sync_folder(self.folder)
                    return None
                if self._duplicates(name, len(content)):
                    failures = dict.fromkeys(
                        range(len(commitment.references)),
                        int(FailureReason.DUPLICATE_TRANSACTION_UID),
                    )
                    result = write_result(commitment, Result(time.time(), failures))
                    put(self.folder, name + _RESULT, result)
                os.link(temporary, self.folder / (name + _REQUEST))
                try:
                    sync_folder(self.folder)
                except BaseException:
                    # Not durable, so not promised; nor to anybody who asks the same next.
                    (self.folder / (name + _REQUEST)).unlink(missing_ok=True)
                    raise
                kept = True
            return Held(self.folder, name, descriptor)
        finally:
            temporary.unlink(missing_ok=True)
            if not kept:
                os.close(descriptor)

    def _duplicates(self, name: str, size: int) -> bool:
        """Whether another transaction has the same sender and UID; checks the limits on the way."""
        pending = {one: _size(self.folder / (one + _REQUEST)) for one in self.pending()}
        self._limits.check(name, size, pending)
        return any(same_transaction(one, name) for one in pending)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only one who adds, of all processes and threads."""
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def pending(self) -> list[str]:
        """Names of the transactions."""
        return [
            one.removesuffix(_REQUEST)
            for one in os.listdir(self.folder)
            if one.endswith(_REQUEST) and not one.startswith(".")
        ]

    def is_pending(self, name: str) -> bool:
        """Whether a transaction is not finished."""
        return (self.folder / (name + _REQUEST)).exists()

    def hold(self, name: str) -> Held | None:
        """Take a transaction, or None if another has it or it is finished."""
        path = self.folder / (name + _REQUEST)
        try:
            # For writing, because some network file systems lock nothing else.
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # It may have been finished, and even asked for anew, just before.
            mine = path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
        except (BlockingIOError, FileNotFoundError):
            mine = False
        except BaseException:
            os.close(descriptor)
            raise
        if mine:
            return Held(self.folder, name, descriptor)
        os.close(descriptor)
        return None

    def sweep(self, older_than: float = _FORGOTTEN_SECONDS) -> int:
        """Remove what crashes left half written; return how many files."""
        removed = 0
        for name in os.listdir(self.folder):
            path = self.folder / name
            orphan = name.endswith(_RESULT) and not self.is_pending(name.removesuffix(_RESULT))
            if not (orphan or (name.startswith(".") and name != ".lock")):
                continue
            try:
                if time.time() - path.stat().st_mtime >= older_than:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                continue  # it was not forgotten
        return removed

    def prune(self, seconds: float = _KEPT_SECONDS, files: int = _KEPT_FILES) -> int:
        """Remove the oldest of what was given up; return how many files.

        Parameters
        ----------
        seconds
            How long they are kept.
        files
            How many are kept.
        """
        # ctime, because a rename sets it and leaves mtime alone.
        aged = [(one.stat().st_ctime, one) for one in (self.folder / _ASIDE).iterdir()]
        aged.sort(reverse=True)
        oldest = time.time() - seconds
        gone = [one for at, (since, one) in enumerate(aged) if at >= files or since < oldest]
        for one in gone:
            one.unlink(missing_ok=True)
        return len(gone)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

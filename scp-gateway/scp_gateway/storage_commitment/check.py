"""Whether instances are committed: index, file and digest must agree.

What cannot be looked at now is not judged now: a PostgreSQL or an archive that
is down never becomes a Failure Reason, because the SCU would keep, or send
again, what is safe.
"""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from pacsless.archive import size_and_sha256
from pacsless.errors import NotFound, PacslessError, Unavailable
from scp_gateway.storage_commitment.report import FailureReason

if TYPE_CHECKING:
    from pacsless.archive import Archive
    from pacsless.postgres import Database, Transaction
    from scp_gateway.storage_commitment.commitment import Commitment
    from scp_gateway.storage_commitment.request import Reference

_BATCH: Final = 500
_POLL_SECONDS: Final = (0.25, 5.0)
_OPEN: Final = 0
_COMMITTED: Final = 0xFFFF  # no Failure Reason
_ROWS: Final = (
    "SELECT sop_instance_uid, sop_class_uid, sha256, file_path FROM instance"
    " WHERE tenant_id = :tenant AND sop_instance_uid = ANY (CAST(:uids AS text[]))"
)


class Row(NamedTuple):
    """What the index says of an instance."""

    sop_class_uid: str
    sha256: str
    file_path: str


@dataclass(slots=True)
class Progress:
    """How far the check of one transaction has come; two bytes a reference."""

    verdicts: array[int]
    position: int = 0
    """Where the pass over the open references goes on."""
    passes: int = 0
    """Passes since the index last answered after it did not."""
    missing_since: float | None = None
    """When the first of these passes ended (monotonic)."""
    is_last_pass: bool = False
    """Whether what is not indexed now is not waited for any longer."""

    @classmethod
    def start(cls, commitment: Commitment) -> Progress:
        """Nothing is judged yet."""
        return cls(array("H", bytes(2 * len(commitment.references))))

    def wait_anew(self) -> None:
        """Forget how long the index has not known what it does not know."""
        self.position, self.missing_since, self.is_last_pass = 0, None, False

    @property
    def is_finished(self) -> bool:
        """Whether every reference is judged."""
        return _OPEN not in self.verdicts

    @property
    def failures(self) -> dict[int, int]:
        """Failure Reasons, by position."""
        return {
            index: verdict
            for index, verdict in enumerate(self.verdicts)
            if verdict not in (_OPEN, _COMMITTED)
        }


@dataclass(frozen=True, slots=True)
class Checker:
    """Looks at what requests refer to; thread-safe, and connects when it first looks.

    Parameters
    ----------
    database
        The index.
    archive
        Where the files are.
    wait_seconds
        How long to wait for the index to learn of an instance. Time in which
        the index or the archive was down does not count: what feeds the index
        was probably as blind as we were.
    """

    database: Database
    archive: Archive
    wait_seconds: float = 300.0
    look_seconds: float = field(default=5.0, kw_only=True)
    """How long one `look` may take, so that a large request stops no small one."""

    def look(self, commitment: Commitment, progress: Progress) -> float:
        """Judge what can be judged now; return how many seconds to wait before looking again.

        Raises
        ------
        PacslessError
            If the index or the archive does not answer. Nothing is lost by it.
        """
        until = time.monotonic() + self.look_seconds
        try:
            return self._look(commitment, progress, until)
        except OSError as error:
            progress.wait_anew()
            raise Unavailable(
                "archive", f"cannot read a file: {error.strerror or type(error).__name__}"
            ) from None
        except PacslessError:
            progress.wait_anew()
            raise

    def _look(self, commitment: Commitment, progress: Progress, until: float) -> float:
        verdicts, total = progress.verdicts, len(commitment.references)
        if progress.position == 0:
            since = progress.missing_since
            progress.is_last_pass = (
                since is not None and time.monotonic() - since >= self.wait_seconds
            )
        while progress.position < total:
            end = min(progress.position + _BATCH, total)
            batch = [one for one in range(progress.position, end) if verdicts[one] == _OPEN]
            rows = self._rows(commitment, batch)
            for index in batch:
                reference = commitment.references[index]
                found = rows.get(reference.sop_instance_uid, ())
                verdicts[index] = self._verdict(reference, found, last=progress.is_last_pass)
                progress.position = index + 1
                if time.monotonic() > until:
                    return 0.0
            progress.position = end
        progress.position = 0
        if progress.missing_since is None:
            progress.missing_since, progress.passes = time.monotonic(), 0
        progress.passes += 1
        shortest, longest = _POLL_SECONDS
        # Not past the deadline by more than the shortest.
        left = progress.missing_since + self.wait_seconds - time.monotonic()
        return min(longest, shortest * 2.0 ** min(progress.passes, 10), max(shortest, left))

    def _rows(self, commitment: Commitment, batch: Sequence[int]) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        if not batch:
            return found
        uids = sorted({commitment.references[index].sop_instance_uid for index in batch})

        def select(transaction: Transaction) -> list[list[str]]:
            return transaction.run(_ROWS, tenant=commitment.tenant_id, uids=uids)

        for sop_instance_uid, *row in self.database.run(select):
            found[sop_instance_uid].append(Row(*row))
        return found

    def _verdict(self, reference: Reference, rows: Sequence[Row], *, last: bool) -> int:
        if not rows:
            return FailureReason.NO_SUCH_OBJECT_INSTANCE if last else _OPEN
        # A SOP Instance UID may stand in two series, by a sender's fault. Which
        # one is meant nobody knows, so all have to be good.
        meant = [row for row in rows if row.sop_class_uid == reference.sop_class_uid]
        if not meant:
            return FailureReason.CLASS_INSTANCE_CONFLICT
        if all(self._is_whole(row) for row in meant):
            return _COMMITTED
        return FailureReason.PROCESSING_FAILURE

    def _is_whole(self, row: Row) -> bool:
        try:
            with self.archive.open(row.file_path) as file:
                return size_and_sha256(file)[1] == row.sha256
        except NotFound:
            return False

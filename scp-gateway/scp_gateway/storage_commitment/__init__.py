"""Storage Commitment Push Model as SCP: PS3.4 Annex J.

A request (N-ACTION) becomes a file in ``<spool>/commitments`` before it is
answered. Whoever works on it holds a lock on that file: first the receiver the
request came to, which checks the instances and reports (N-EVENT-REPORT) on the
asking association; then, if that has ended or the receiver has, the `Deliverer`
of the parent process, on an association of its own.
"""

from scp_gateway.storage_commitment.check import Checker
from scp_gateway.storage_commitment.deliver import Deliverer
from scp_gateway.storage_commitment.request import (
    MAX_INFORMATION_BYTES,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    ActionStatus,
    Reference,
    Reply,
)
from scp_gateway.storage_commitment.service import EventReporter, StorageCommitmentService
from scp_gateway.storage_commitment.transactions import Transactions

__all__ = [
    "MAX_INFORMATION_BYTES",
    "STORAGE_COMMITMENT",
    "STORAGE_COMMITMENT_INSTANCE",
    "ActionStatus",
    "Checker",
    "Deliverer",
    "EventReporter",
    "Reference",
    "Reply",
    "StorageCommitmentService",
    "Transactions",
]

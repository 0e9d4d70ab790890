"""A transaction as bytes: a line of JSON, then a line for each reference."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from pacsless.errors import PacslessError
from scp_gateway.storage_commitment.request import Reference

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Commitment:
    """A request as it is kept."""

    id: str
    """Of this request and no other, so that no result is taken for another's."""
    tenant_id: str
    calling_ae_title: str
    """Of the SCU; where results go."""
    called_ae_title: str
    """As which we were asked, and answer."""
    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a request."""

    decided_at: float
    """Seconds since the epoch."""
    failures: dict[int, int]
    """Failure Reason of what is not committed, by its position in the request."""


class Damaged(PacslessError):
    """A transaction's file is not what was written."""


def name_of(commitment: Commitment) -> str:
    """Name of a transaction: the same for the same request again."""
    return "-".join(
        (
            _digest(_bytes(commitment.tenant_id)),
            _digest(_bytes(commitment.calling_ae_title)),
            _digest(_bytes(commitment.transaction_uid)),
            _digest(_lines(commitment.references)),
        )
    )


def same_transaction(one: str, other: str) -> bool:
    """Whether two names are of one Transaction UID of one sender."""
    return one.rpartition("-")[0] == other.rpartition("-")[0]


def sender_of(name: str) -> str:
    """The part of a name that is the same for everything of one sender."""
    return name.rsplit("-", 2)[0]


def tenant_of(name: str) -> str:
    """The part of a name that is the same for everything of one tenant."""
    return name.partition("-")[0]


def fields_of(commitment: Commitment) -> dict[str, str]:
    """What log lines say of a transaction."""
    return {
        "tenant": commitment.tenant_id,
        "calling": commitment.calling_ae_title,
        "transaction_uid": commitment.transaction_uid,
    }


def to_bytes(commitment: Commitment) -> bytes:
    """Write a request."""
    head = {
        "version": _VERSION,
        "id": commitment.id,
        "tenant_id": commitment.tenant_id,
        "calling_ae_title": commitment.calling_ae_title,
        "called_ae_title": commitment.called_ae_title,
        "transaction_uid": commitment.transaction_uid,
    }
    return json.dumps(head).encode() + b"\n" + _lines(commitment.references)


def from_bytes(name: str, content: bytes) -> Commitment:
    """Read a request.

    Raises
    ------
    Damaged
        If it is not the one of this name.
    """
    head, _, lines = content.partition(b"\n")
    try:
        told = json.loads(head)
        classes: dict[str, str] = {}
        references = []
        for line in lines.decode("ascii").splitlines():
            sop_class, sop_instance = line.split(" ")
            references.append(Reference(classes.setdefault(sop_class, sop_class), sop_instance))
        commitment = Commitment(
            told["id"],
            told["tenant_id"],
            told["calling_ae_title"],
            told["called_ae_title"],
            told["transaction_uid"],
            tuple(references),
        )
        known = name_of(commitment) == name and told["version"] == _VERSION
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise Damaged("damaged", f"{name}.request in the spool's commitments is not as written")
    return commitment


def write_result(commitment: Commitment, result: Result) -> bytes:
    """Write a result."""
    told = {
        "of": commitment.id,
        "decided_at": result.decided_at,
        "failures": sorted(result.failures.items()),
    }
    return json.dumps(told).encode()


def read_result(commitment: Commitment, content: bytes) -> Result | None:
    """Read a result; None if it is of a request before this one, or damaged."""
    try:
        told: dict[str, Any] = json.loads(content)
        if told["of"] != commitment.id:
            return None
        return Result(
            float(told["decided_at"]),
            {int(index): int(reason) for index, reason in told["failures"]},
        )
    except (ValueError, KeyError, TypeError):
        return None


def _lines(references: tuple[Reference, ...]) -> bytes:
    return "".join(f"{one} {other}\n" for one, other in references).encode("ascii")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:24]


def _bytes(text: str) -> bytes:
    # An AE title is whatever the sender wrote.
    return text.encode("utf-8", "backslashreplace")

"""Tables of the gateway: what it negotiates, what it answers, where its limits are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, TypeVar

from pydicom._uid_dict import UID_dictionary
from pydicom.charset import python_encoding
from pynetdicom import sop_class

from pacsless.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacsless.dicom.transfer_syntaxes import OCTET_STREAM, STORABLE, TransferSyntax, lookup, name
from pacsless.readme import markdown
from pacsless.storage import Status
from scp_gateway.negotiation import MAX_WINDOW
from scp_gateway.presentation import STORAGE
from scp_gateway.settings import GatewaySettings
from scp_gateway.storage_commitment import MAX_INFORMATION_BYTES, ActionStatus
from scp_gateway.storage_commitment.limits import Limits
from scp_gateway.storage_commitment.report import FailureReason
from scp_gateway.storage_commitment.request import MAX_REFERENCES

_Code = TypeVar("_Code", bound=IntEnum)

_BOTH, _DIMSE, _WEB = "C-STORE, STOW-RS", "C-STORE", "STOW-RS"
_STORE: Final[Mapping[Status, tuple[str, str]]] = {
    Status.SUCCESS: (
        _BOTH,
        "The instance is durable; or the same data set was stored before.",
    ),
    Status.PROCESSING_FAILURE: (_BOTH, "Something went wrong here; the log says what."),
    Status.DUPLICATE_SOP_INSTANCE: (
        _BOTH,
        "The SOP Instance is stored with other content: the first stays, this one is put aside.",
    ),
    Status.SOP_CLASS_NOT_SUPPORTED: (
        _DIMSE,
        "The presentation context is of another service than storage.",
    ),
    Status.OUT_OF_RESOURCES: (
        _BOTH,
        "Archive, journal or disk cannot take it now, or the tenant sends too much at once.",
    ),
    Status.DOES_NOT_MATCH: (
        _BOTH,
        "One of its UIDs is not what the command, the context, the file or the address says.",
    ),
    Status.CANNOT_UNDERSTAND: (
        _BOTH,
        "It is no data set, or one of its UIDs is missing or invalid.",
    ),
    Status.TRANSFER_SYNTAX_NOT_SUPPORTED: (_WEB, "The file is in none of the transfer syntaxes."),
}
_ACTION: Final[Mapping[ActionStatus, str]] = {
    ActionStatus.SUCCESS: "The request is durable; an N-EVENT-REPORT will follow.",
    ActionStatus.NO_SUCH_SOP_INSTANCE: "It is not to the well-known SOP Instance.",
    ActionStatus.INVALID_ARGUMENT: "The Action Information is missing, malformed or too large.",
    ActionStatus.NO_SUCH_SOP_CLASS: "It is not to the Storage Commitment Push Model.",
    ActionStatus.NO_SUCH_ACTION: "The Action Type ID is not 1.",
    ActionStatus.RESOURCE_LIMITATION: "Too much is pending, or the request cannot be kept now.",
}
_FAILURE: Final[Mapping[FailureReason, str]] = {
    FailureReason.PROCESSING_FAILURE: "The file is not what the index says of it.",
    FailureReason.NO_SUCH_OBJECT_INSTANCE: "It is not in the index, after the time it may take.",
    FailureReason.CLASS_INSTANCE_CONFLICT: "It is stored with another SOP Class UID.",
    FailureReason.DUPLICATE_TRANSACTION_UID: "A request of this Transaction UID is pending.",
}


def sop_classes() -> str:
    """Every storage SOP class, by name."""
    rows = []
    for uid in STORAGE:
        if uid in UID_dictionary:
            said, _, of_whom, retired, _ = UID_dictionary[uid]
            rows.append((said, f"`{uid}`", " ".join(filter(None, (of_whom, retired.lower())))))
        else:
            rows.append((_newer(uid), f"`{uid}`", ""))
    return markdown(("SOP class", "UID", ""), sorted(rows))


def _newer(uid: str) -> str:
    """Name of one that pydicom does not know yet: pynetdicom's keyword, as words."""
    keyword = next(word for word, known in sop_class._STORAGE_CLASSES.items() if known == uid)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", keyword)


def transfer_syntaxes() -> str:
    """Every transfer syntax, and what frames of it are sent as."""
    rows = [
        (name(uid) if uid in UID_dictionary else "private", f"`{uid}`", _pixels(lookup(uid)))
        for uid in STORABLE
    ]
    return markdown(("transfer syntax", "UID", "frames by WADO-RS"), rows)


def _pixels(syntax: TransferSyntax) -> str:
    if syntax.referenced:
        return "none, Pixel Data is elsewhere"
    if syntax.is_video:
        return f"none; bulk data as `{syntax.media_type}`"
    if syntax.media_type == OCTET_STREAM:
        return f"`{OCTET_STREAM}`"
    return f"`{syntax.media_type}`, `{OCTET_STREAM}`"


def implementation() -> str:
    """How the implementation names itself."""
    rows = (
        ("Implementation Class UID", f"`{IMPLEMENTATION_CLASS_UID}`"),
        ("Implementation Version Name", f"`{IMPLEMENTATION_VERSION_NAME}`"),
    )
    return markdown(("", "value"), rows)


def association_limits() -> str:
    """What an association may have, and which setting says so."""
    ours = GatewaySettings()
    rows: list[tuple[str, str, str]] = [
        ("Maximum PDU Length received", f"{ours.max_pdu:,} bytes", "MAX_PDU"),
        ("associations at a time", f"{ours.max_associations}", "MAX_ASSOCIATIONS"),
        ("of one address", f"{ours.max_associations_per_address}", "MAX_ASSOCIATIONS_PER_ADDRESS"),
        ("data set", f"{ours.max_object_mb:,} MiB", "MAX_OBJECT_MB"),
        ("all of an association", f"{ours.max_association_mb:,} MiB", "MAX_ASSOCIATION_MB"),
        ("until A-ASSOCIATE-RQ", f"{ours.association_seconds} s", "ASSOCIATION_SECONDS"),
        ("silence", f"{ours.idle_seconds} s", "IDLE_SECONDS"),
        ("one PDU", f"{ours.pdu_seconds} s", "PDU_SECONDS"),
        ("one message", f"{ours.message_seconds:,} s", "MESSAGE_SECONDS"),
    ]
    settings = [(what, most, f"`{ours.PREFIX}{field}`") for what, most, field in rows]
    settings.append(("operations outstanding, invoked by the sender", f"{MAX_WINDOW}", "–"))
    settings.append(("operations outstanding, invoked by the gateway", "1", "–"))
    return markdown(("", "at most", "setting"), settings)


def commitment_limits() -> str:
    """What may be asked to be committed."""
    ours, most = GatewaySettings(), Limits()
    rows: list[tuple[str, str]] = [
        ("instances of a request", f"{MAX_REFERENCES:,}"),
        ("Action Information", f"{MAX_INFORMATION_BYTES >> 20} MiB"),
    ]
    rows += [
        (f"pending requests {whose}", f"{limit.transactions:,}; {limit.bytes >> 20:,} MiB")
        for whose, limit in (
            ("of one calling AE title", most.sender),
            ("of a tenant", most.tenant),
            ("in all", most.overall),
        )
    ]
    rows += [
        (
            f"until an instance is indexed (`{ours.PREFIX}COMMITMENT_WAIT_SECONDS`)",
            f"{ours.commitment_wait_seconds} s",
        ),
        (
            f"until a report is given up (`{ours.PREFIX}COMMITMENT_RETRY_SECONDS`)",
            f"{ours.commitment_retry_seconds:,} s",
        ),
    ]
    return markdown(("", "at most"), rows)


def store_statuses() -> str:
    """Status of C-STORE, and Failure Reason of STOW-RS."""
    rows = [(*_named(one), *_STORE[one]) for one in Status]
    return markdown(("code", "", "of", "when"), rows)


def action_statuses() -> str:
    """Status of N-ACTION."""
    return _when(_ACTION, ActionStatus)


def failure_reasons() -> str:
    """Failure Reason of an instance that is not committed."""
    return _when(_FAILURE, FailureReason)


def _when(said: Mapping[_Code, str], codes: type[_Code]) -> str:
    return markdown(("code", "", "when"), [(*_named(one), said[one]) for one in codes])


def _named(code: IntEnum) -> tuple[str, str]:
    words = code.name.replace("_", " ").lower()
    return f"0x{code:04X}", re.sub(r"\b(sop|uid)\b", lambda found: found[0].upper(), words)


def character_sets() -> str:
    """Defined Terms of Specific Character Set (PS3.3 §C.12.1.1.2)."""
    terms = [one for one in python_encoding if re.fullmatch(r"ISO(_| 2022 )IR \d+|GB\w+", one)]
    terms.sort(key=lambda one: (one.rpartition(" ")[0], len(one), one))
    return ", ".join(f"`{one}`" for one in terms)

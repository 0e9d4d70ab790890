"""Which presentation contexts the gateway supports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydicom._uid_dict import UID_dictionary
from pynetdicom import sop_class
from pynetdicom.pdu_primitives import SOPClassCommonExtendedNegotiation
from pynetdicom.presentation import PresentationContext, build_context

from pacsless.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    is_storable,
)
from scp_gateway.storage_commitment import STORAGE_COMMITMENT

# Storage of things that belong to no study, a directory of media, and services
# that are about storage: no instance of them has a place under a study.
_NOT_UNDER_A_STUDY: Final = (
    "Storage Commitment",
    "Media Storage Directory",
    "Defined Procedure Protocol",
    "Protocol Approval",
    "Inventory",
    "Hanging Protocol",
    "Color Palette",
    "Implant",
)

STORAGE: Final[frozenset[str]] = frozenset(
    {
        *sop_class._STORAGE_CLASSES.values(),
        # The retired ones, and DICOS and DICONDE, which pynetdicom leaves out.
        *(
            uid
            for uid, (name, kind, *_) in UID_dictionary.items()
            if kind == "SOP Class"
            and "Storage" in name
            and not any(word in name for word in _NOT_UNDER_A_STUDY)
        ),
    }
)
"""Every storage SOP class known, retired and private ones included."""

VERIFICATION: Final = "1.2.840.10008.1.1"
OTHER_SERVICES: Final = frozenset({VERIFICATION, STORAGE_COMMITMENT})
"""Abstract syntaxes that nothing can be stored by."""

_STORAGE_SERVICE_CLASS: Final = "1.2.840.10008.4.2"
_UNCOMPRESSED: Final = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the gateway is ready to accept."""

    max_pdu: int
    any_sop_class: bool
    """Whether to take abstract syntaxes nobody here has heard of for storage."""
    storage_commitment: bool


def supported(
    requested: Iterable[PresentationContext],
    offer: Offer,
    declared: frozenset[str] = frozenset(),
) -> list[PresentationContext]:
    """Return what to support of what a sender proposes.

    pynetdicom accepts the first supported transfer syntax the sender proposes,
    in *our* order, so ours is made the sender's: nothing else tells which
    encoding the sender has its files in, and a sender that gets its first
    choice need not convert.

    Parameters
    ----------
    requested
        The presentation contexts of the A-ASSOCIATE-RQ.
    offer
        What there is to be had.
    declared
        SOP classes the sender declares to be storage.
    """
    found: dict[str, dict[str, None]] = {}
    for context in requested:
        abstract = str(context.abstract_syntax)
        is_commitment = abstract == STORAGE_COMMITMENT and offer.storage_commitment
        if is_commitment or abstract == VERIFICATION or _is_storage(abstract, offer, declared):
            found.setdefault(abstract, {}).update(
                (one, None)
                for one in map(str, context.transfer_syntax)
                if is_storable(one) and (not is_commitment or one in _UNCOMPRESSED)
            )
    # Of one that is supported in nothing the sender proposed, it learns that it
    # is the transfer syntaxes (PS3.8 Table 9-18, result 4).
    return [
        _as_scp(build_context(one, list(proposed) or IMPLICIT_VR_LITTLE_ENDIAN))
        for one, proposed in found.items()
    ]


def _as_scp(context: PresentationContext) -> PresentationContext:
    # The sender may be SCU, and not SCP (PS3.7 §D.3.3.4): what it did not ask
    # for is not answered, and who wants to be SCP only is refused.
    context.scu_role, context.scp_role = True, False
    return context


def _is_storage(abstract: str, offer: Offer, declared: frozenset[str]) -> bool:
    if abstract in STORAGE:
        return True
    return abstract not in UID_dictionary and (offer.any_sop_class or abstract in declared)


def declared_storage(items: Iterable[SOPClassCommonExtendedNegotiation]) -> frozenset[str]:
    """SOP classes that are of the Storage Service Class and like one that is known.

    PS3.7 §D.3.3.6 has the acceptor choose by the related general SOP classes; a
    response item does not exist.
    """
    return frozenset(
        str(item.sop_class_uid)
        for item in items
        if str(item.service_class_uid) == _STORAGE_SERVICE_CLASS
        and any(str(one) in STORAGE for one in item.related_general_sop_class_identification)
    )

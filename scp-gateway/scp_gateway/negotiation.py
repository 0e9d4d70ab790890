"""Which presentation contexts the gateway accepts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydicom._uid_dict import UID_dictionary
from pynetdicom import sop_class
from pynetdicom.presentation import PresentationContext, build_context

from pacsless.dicom.transfer_syntaxes import is_storable

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


def supported(
    requested: Iterable[PresentationContext], any_sop_class: bool
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
    any_sop_class
        Whether to take abstract syntaxes nobody here has heard of for storage.
    """
    found: dict[str, dict[str, None]] = {}
    for context in requested:
        abstract = str(context.abstract_syntax)
        if abstract == VERIFICATION or _is_storage(abstract, any_sop_class):
            offered = found.setdefault(abstract, {})
            offered.update((str(one), None) for one in context.transfer_syntax)
    return [
        build_context(abstract, accepted)
        for abstract, offered in found.items()
        if (accepted := [one for one in offered if is_storable(one)])
    ]


def _is_storage(abstract: str, any_sop_class: bool) -> bool:
    return abstract in STORAGE or (any_sop_class and abstract not in UID_dictionary)

"""Association negotiation as the acceptor: PS3.8 §9.3.2 to §9.3.4, PS3.7 Annex D.

pynetdicom encodes and decodes the PDUs and matches presentation contexts and
roles; what is accepted is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from pacsless.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from scp_gateway.associate_rq import decode
from scp_gateway.presentation import (
    OTHER_SERVICES,
    Offer,
    declared_storage,
    supported,
)

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
LOCAL_LIMIT_EXCEEDED: Final = (2, 3, 2)
"""Rejected transient, by the presentation related service-provider (PS3.8 Table 9-21)."""
MAX_WINDOW: Final = 16
"""Operations a sender may have outstanding, if it asks for several."""

_CONTEXT_NOT_SUPPORTED: Final = (1, 1, 2)
_VERSION_NOT_SUPPORTED: Final = (1, 2, 2)
# PS3.4 Table B.3-1: Level 2 (Full), Digital Signature Level 3 (data sets stay as they
# are, bit by bit), no coercion of elements.
_STORAGE_INFORMATION: Final = bytes((2, 0, 3, 0, 0, 0))


class Rejected(Exception):
    """The association cannot be: result, source and reason of the A-ASSOCIATE-RJ."""

    def __init__(self, rejection: tuple[int, int, int], why: str) -> None:
        super().__init__(why)
        self.rejection = rejection
        self.why = why


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What an association is about."""

    contexts: dict[int, Context]
    """Accepted presentation contexts by identifier."""
    max_pdu: int
    """Largest PDU the peer receives; 0 for no limit."""
    accept: bytes
    """The A-ASSOCIATE-AC PDU."""


def read_request(pdu: bytes) -> A_ASSOCIATE:
    """Decode an A-ASSOCIATE-RQ PDU (PS3.8 Table 9-11).

    Raises
    ------
    BrokenProtocol
        If it is none.
    Rejected
        If it speaks another protocol version or application context.
    """
    versions, request = decode(pdu)
    # PS3.8 Table 9-11: one bit a version, and only the first is looked at.
    if not versions & 1:
        raise Rejected(_VERSION_NOT_SUPPORTED, "protocol version")
    if str(request.application_context_name) != APPLICATION_CONTEXT:
        raise Rejected(_CONTEXT_NOT_SUPPORTED, "application context")
    return request


def accept(request: A_ASSOCIATE, offer: Offer) -> Negotiated:
    """Negotiate presentation contexts, roles and the rest, and encode the A-ASSOCIATE-AC."""
    asked: dict[type, list[Any]] = {}
    for item in request.user_information:
        asked.setdefault(type(item), []).append(item)
    declared = declared_storage(asked.get(SOPClassCommonExtendedNegotiation, []))
    roles = {
        item.sop_class_uid: (item.scu_role, item.scp_role)
        for item in asked.get(SCP_SCU_RoleSelectionNegotiation, [])
    }
    results: list[PresentationContext] = []
    role_replies: dict[str, SCP_SCU_RoleSelectionNegotiation] = {}
    # One by one: contexts of one abstract syntax may have other preferences.
    for proposed in request.presentation_context_definition_list:
        (result,), replies = negotiate_as_acceptor(
            [proposed], supported([proposed], offer, declared), roles
        )
        results.append(result)
        role_replies.update((str(one.sop_class_uid), one) for one in replies)
    contexts = {
        int(one.context_id or 0): Context(str(one.abstract_syntax), str(one.transfer_syntax[0]))
        for one in results
        if one.result == 0
    }
    reply = A_ASSOCIATE()
    reply.application_context_name = APPLICATION_CONTEXT
    reply.calling_ae_title = request.calling_ae_title
    reply.called_ae_title = request.called_ae_title
    reply.result = 0
    reply.result_source = 1
    reply.presentation_context_definition_results_list = results
    reply.user_information = [
        _maximum_length(offer.max_pdu),
        *_implementation(),
        *role_replies.values(),
        *map(_window, asked.get(AsynchronousOperationsWindowNegotiation, [])),
        *_storage_level(asked.get(SOPClassExtendedNegotiation, []), contexts.values()),
    ]
    lengths = [
        item.maximum_length_received or 0 for item in asked.get(MaximumLengthNotification, [])
    ]
    return Negotiated(contexts, min(lengths, default=0), bytes(A_ASSOCIATE_AC(reply).encode()))


def reject(result: int, source: int, reason: int) -> bytes:
    """Encode an A-ASSOCIATE-RJ PDU (PS3.8 Table 9-21)."""
    reply = A_ASSOCIATE()
    reply.result, reply.result_source, reply.diagnostic = result, source, reason
    return bytes(A_ASSOCIATE_RJ(reply).encode())


def _storage_level(
    items: Iterable[SOPClassExtendedNegotiation], contexts: Iterable[Context]
) -> Iterable[SOPClassExtendedNegotiation]:
    accepted = {one.abstract_syntax for one in contexts} - OTHER_SERVICES
    for item in items:
        if str(item.sop_class_uid) in accepted:
            reply = SOPClassExtendedNegotiation()
            reply.sop_class_uid = item.sop_class_uid
            reply.service_class_application_information = _STORAGE_INFORMATION
            yield reply


def _window(
    asked: AsynchronousOperationsWindowNegotiation,
) -> AsynchronousOperationsWindowNegotiation:
    # PS3.7 §D.3.3.3: not more than was asked for, where 0 asks for no limit. We
    # answer in the order of the requests, and invoke one operation at a time.
    reply = AsynchronousOperationsWindowNegotiation()
    invoked = asked.maximum_number_operations_invoked or MAX_WINDOW
    reply.maximum_number_operations_invoked = min(invoked, MAX_WINDOW)
    reply.maximum_number_operations_performed = 1
    return reply


def _maximum_length(max_pdu: int) -> MaximumLengthNotification:
    item = MaximumLengthNotification()
    item.maximum_length_received = max_pdu
    return item


def _implementation() -> tuple[Any, Any]:
    uid, version = ImplementationClassUIDNotification(), ImplementationVersionNameNotification()
    uid.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return uid, version

"""DIMSE messages from the network, with data sets going straight into the archive.

pynetdicom collects a message in memory before anybody sees it. Here the command
set is still its business, but every fragment of a C-STORE's data set is handed
on as it comes, so an object of any size takes one PDU of memory.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from scp_gateway.answers import Answer, Request, Sender, Status, uid_or_nothing
from scp_gateway.c_store import Reception, StorageService

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from scp_gateway.association import GatewayAssociation

# A C-STORE-RQ's command set is some 200 bytes.
_MAX_COMMAND_BYTES: Final = 64 << 10
# Nobody negotiated asynchronous operations (PS3.7 §D.3.3.3): one is the rule.
_MAX_WAITING: Final = 16
# Bits of the Message Control Header (PS3.8 §E.2).
_COMMAND: Final = 1
_LAST: Final = 2
_log = logging.getLogger(__name__)


class StreamingProvider(DIMSEServiceProvider):
    """DIMSE service provider of one association.

    Data sets are stored on the thread that reads the socket: nothing else can
    come from the sender until it has its answer, and the answer leaves without
    waiting for another thread to wake up.
    """

    assoc: GatewayAssociation

    def __init__(self, association: GatewayAssociation, service: StorageService) -> None:
        super().__init__(association)
        self.answers: Counter[Status] = Counter()
        """How many instances got which status."""
        self.sender: Sender | None = None
        """Known when the association was asked for."""
        self._service = service
        self._reception: Reception | None = None
        self._request = Request(0, "", "", "", "")
        self._context_id = 0

    @property
    def is_busy(self) -> bool:
        """Whether a message is being received or answered."""
        return self.message is not None or self._reception is not None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take the fragments of one P-DATA-TF PDU (PS3.8 §9.3.5)."""
        try:
            understood = all(
                self._take(context_id, value)
                for context_id, value in primitive.presentation_data_value_list
            )
        except Exception:  # noqa: BLE001  # hostile bytes may raise anything
            # A command set that is none, most likely; pynetdicom would let the
            # reading thread die of it.
            _log.exception("a message could not be read")
            understood = False
        if not understood:
            # Evt19, an invalid PDU: the association is aborted (PS3.8 §9.2.3).
            _log.warning("a sender broke the message exchange protocol")
            self.dul.event_queue.put("Evt19")

    def _take(self, context_id: int, value: bytes) -> bool:
        """Take one fragment; False if it makes no sense here."""
        if self._reception is None:
            return self._take_command(context_id, value)
        return self._take_data_set(context_id, value, self._reception)

    def _take_command(self, context_id: int, value: bytes) -> bool:
        if not value[0] & _COMMAND or self.msg_queue.qsize() > _MAX_WAITING:
            return False
        one = P_DATA()
        one.presentation_data_value_list = [[context_id, value]]  # type: ignore[list-item]
        super().receive_primitive(one)
        message = self.message
        if message is None:
            return True
        if isinstance(message, C_STORE_RQ):
            return self._begin(context_id, message.command_set)
        # Of what is left, nothing that is served here has a data set.
        return (
            not value[0] & _LAST
            and message.encoded_command_set.getbuffer().nbytes <= _MAX_COMMAND_BYTES
        )

    def _begin(self, context_id: int, command: Dataset) -> bool:
        context = self.assoc._accepted_cx.get(context_id)
        message_id = command.get("MessageID")
        if context is None or self.sender is None or not isinstance(message_id, int):
            return False
        self._context_id = context_id
        self._request = Request(
            message_id,
            str(context.abstract_syntax),
            _text(command.get("AffectedSOPClassUID")),
            _text(command.get("AffectedSOPInstanceUID")),
            str(context.transfer_syntax[0]),
        )
        self._reception = self._service.begin(self._request, self.sender)
        return True

    def _take_data_set(self, context_id: int, value: bytes, reception: Reception) -> bool:
        if value[0] & _COMMAND or context_id != self._context_id:
            return False
        reception.write(memoryview(value)[1:])
        if value[0] & _LAST:
            answer = reception.finish()
            self.answers[answer.status] += 1
            self._reception = self.message = None
            self._answer(answer)
        return True

    def _answer(self, answer: Answer) -> None:
        response = C_STORE()
        response.MessageIDBeingRespondedTo = self._request.message_id
        response.Status = int(answer.status)
        response.AffectedSOPClassUID = uid_or_nothing(self._request.sop_class_uid) or None
        response.AffectedSOPInstanceUID = uid_or_nothing(self._request.sop_instance_uid) or None
        if answer.comment:
            response.ErrorComment = answer.comment[:64]  # type: ignore[assignment]
        self.send_msg(response, self._context_id)

    def close(self) -> None:
        """Forget what an association that ended left half received."""
        if self._reception is not None:
            self._reception.abandon()


def _text(value: object) -> str:
    return "" if value is None else str(value).rstrip("\0 ")

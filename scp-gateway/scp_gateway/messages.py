"""The DIMSE messages of an association: put together, handed to their services, answered.

Of a C-STORE-RQ every fragment of the data set is handed on as it comes, so an
object of any size takes one PDU of memory.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from struct import unpack_from
from typing import TYPE_CHECKING, Final

from pacsless.storage import Answer, ObjectTooLarge, Sender, Status, uid_or_nothing
from scp_gateway.asked import Request
from scp_gateway.c_store import CStore
from scp_gateway.command_set import (
    COMMAND,
    LAST,
    MAX_COMMAND_BYTES,
    RESPONSE,
    Command,
    CommandSet,
    Element,
    command_set,
    message,
    response,
)
from scp_gateway.connection import Connection
from scp_gateway.event_reports import EventReports
from scp_gateway.negotiation import Negotiated
from scp_gateway.pdu import PDV_HEADER_BYTES, AbortReason, BrokenProtocol
from scp_gateway.presentation import VERIFICATION
from scp_gateway.storage_commitment import (
    MAX_INFORMATION_BYTES,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
)
from scp_gateway.turns import Turns

if TYPE_CHECKING:
    from scp_gateway.association import Services

_MAX_COLLECTED_BYTES: Final = 64 << 20
"""Of the requests for storage commitment that are coming to this process at a time."""
_C_CANCEL_RQ: Final = 0x0FFF
_UNRECOGNIZED_OPERATION: Final = 0x0211
_log = logging.getLogger(__name__)


class Messages:
    """What a sender says, and what it is answered.

    Parameters
    ----------
    connection
        Where answers go.
    negotiated, sender
        The association.
    services
        What there is to be had.
    """

    def __init__(
        self, connection: Connection, negotiated: Negotiated, sender: Sender, services: Services
    ) -> None:
        self.answers: Counter[Status] = Counter()
        """How many instances got which status."""
        self.storing_seconds = 0.0
        """Spent on making instances durable, after their last byte."""
        self._negotiated = negotiated
        self._sender = sender
        self._services = services
        self._context_id = 0
        self._encoded = bytearray()
        """Of the command set, while it is coming in several fragments."""
        self._command: CommandSet | None = None
        """Of the message whose data set is coming."""
        self._take_data: Callable[[memoryview, bool], None] = self._collect
        self._data = bytearray()
        self._passed = 0
        self._began = 0.0
        """When the message that is coming began."""
        self._reception: CStore | None = None
        self.turns = Turns(connection)
        self._reports = EventReports(negotiated, self.turns)

    def take(self, body: memoryview) -> None:
        """Take the fragments of a P-DATA-TF PDU (PS3.8 §9.3.5).

        Raises
        ------
        BrokenProtocol
            If they make no sense here.
        ObjectTooLarge
            If one is too many.
        """
        if self._command is not None and (
            time.monotonic() - self._began > self._services.message_seconds
        ):
            # A byte a PDU, and each in time, would keep a place for ever.
            raise ObjectTooLarge("message-too-slow", "a message takes longer than it may")
        position, end = 0, len(body)
        while position < end or not end:
            if end - position < PDV_HEADER_BYTES:
                raise _broken("a P-DATA-TF PDU that is none")
            length, context_id, control = unpack_from(">LBB", body, position)
            start = position + PDV_HEADER_BYTES
            position += 4 + length
            is_last = bool(control & LAST)
            # Endless empty fragments would come below every limit of bytes.
            if position > end or (position <= start and not (is_last and position == start)):
                raise _broken("a fragment that is none")
            value = body[start:position]
            if self._command is not None:
                if control & COMMAND or context_id != self._context_id:
                    raise _broken("a fragment of another message")
                self._take_data(value, is_last)
            elif control & COMMAND:
                self._take_command(context_id, value, is_last)
            else:
                raise _broken("a data set without a command set")

    def _take_command(self, context_id: int, value: memoryview, is_last: bool) -> None:
        if self._encoded and context_id != self._context_id:
            raise _broken("a fragment of another message")
        if context_id not in self._negotiated.contexts:
            raise _broken("a presentation context that was not accepted")
        self._context_id = context_id
        if not self._encoded:
            self._began = time.monotonic()
        self.turns.begin()
        if self._encoded or not is_last:
            self._encoded += value
            if len(self._encoded) > MAX_COMMAND_BYTES:
                raise _broken("a command set without end")
            if not is_last:
                return
            value = memoryview(bytes(self._encoded))
            self._encoded.clear()
        command = CommandSet(value)
        if command.has_data_set:
            self._command = command
            if command.number(Element.COMMAND_FIELD) == Command.C_STORE_RQ:
                self._begin_store(command)
            elif self._is_commitment(command):
                self._take_data = self._collect
            else:
                self._take_data = self._read_past
        else:
            self._serve(command, b"")

    def _is_commitment(self, command: CommandSet) -> bool:
        context = self._negotiated.contexts[self._context_id]
        return (
            command.number(Element.COMMAND_FIELD) == Command.N_ACTION_RQ
            and context.abstract_syntax == STORAGE_COMMITMENT
        )

    def _read_past(self, value: memoryview, is_last: bool) -> None:
        """Take the data set of a message that is refused, or of a response."""
        self._passed += len(value)
        if self._passed > MAX_INFORMATION_BYTES:
            raise _broken("a data set larger than any that is taken here")
        if is_last:
            command, self._command, self._passed = self._command, None, 0
            assert command is not None
            self._serve(command, b"")

    def _collect(self, value: memoryview, is_last: bool) -> None:
        self._data += value
        if len(self._data) > MAX_INFORMATION_BYTES:
            raise _broken("a data set larger than any that is taken here")
        self._services.collecting[self] = len(self._data)
        if sum(self._services.collecting.copy().values()) > _MAX_COLLECTED_BYTES:
            raise _broken("too much is asked to be committed at once")
        if is_last:
            command, self._command = self._command, None
            data, self._data = bytes(self._data), bytearray()
            self._services.collecting.pop(self, None)
            assert command is not None
            self._serve(command, data)

    # -- C-STORE (PS3.7 §9.1.1)

    def _begin_store(self, command: CommandSet) -> None:
        context = self._negotiated.contexts[self._context_id]
        request = Request(
            context.abstract_syntax,
            command.uid(Element.AFFECTED_SOP_CLASS_UID),
            command.uid(Element.AFFECTED_SOP_INSTANCE_UID),
            context.transfer_syntax,
        )
        self._reception = CStore(self._services.storage, request, self._sender)
        self._take_data = self._store

    def _store(self, value: memoryview, is_last: bool) -> None:
        reception, command = self._reception, self._command
        assert reception is not None and command is not None
        reception.write(value)
        if not is_last:
            return
        began = time.monotonic()
        answer = reception.finish()
        self.storing_seconds += time.monotonic() - began
        self.answers[answer.status] += 1
        self._command = None
        try:
            self._answer_store(command, answer)
        finally:
            reception.conclude()
            reception.abandon()
            self._reception = None

    def _answer_store(self, command: CommandSet, answer: Answer) -> None:
        self._answer(
            command,
            int(answer.status),
            answer.comment,
            affected_sop_class_uid=uid_or_nothing(command.uid(Element.AFFECTED_SOP_CLASS_UID)),
            affected_sop_instance_uid=uid_or_nothing(
                command.uid(Element.AFFECTED_SOP_INSTANCE_UID)
            ),
        )

    # -- everything else

    def _serve(self, command: CommandSet, data: bytes) -> None:
        field = command.number(Element.COMMAND_FIELD)
        if field == Command.C_ECHO_RQ:
            self._answer(command, Status.SUCCESS, affected_sop_class_uid=VERIFICATION)
        elif field == Command.C_STORE_RQ:  # with a data set it does not come here
            self.answers[Status.CANNOT_UNDERSTAND] += 1
            self._answer_store(
                command,
                Answer(
                    Status.CANNOT_UNDERSTAND,
                    "refused",
                    "missing-data-set",
                    "missing-data-set: a C-STORE-RQ has one",
                ),
            )
        elif self._is_commitment(command) and self._services.commitment is not None:
            self._act(command, data)
        elif field == Command.N_EVENT_REPORT_RQ | RESPONSE:
            self._reports.take(command)
            self.turns.end()
        elif field is None or field & RESPONSE:
            raise _broken("a response nobody waits for")
        elif field == _C_CANCEL_RQ:  # has no response, and there is nothing to cancel
            self.turns.end()
        else:
            self._answer(command, _UNRECOGNIZED_OPERATION, "not a service of this gateway")

    def _act(self, command: CommandSet, data: bytes) -> None:
        """N-ACTION (PS3.7 §10.1.4): a request for storage commitment."""
        assert self._services.commitment is not None
        context = self._negotiated.contexts[self._context_id]
        reply = self._services.commitment.request(
            self._sender,
            command.uid(Element.REQUESTED_SOP_CLASS_UID),
            command.uid(Element.REQUESTED_SOP_INSTANCE_UID),
            command.number(Element.ACTION_TYPE_ID),
            data,
            context.transfer_syntax,
            self._reports,
        )
        _log.log(
            logging.WARNING if reply.status else logging.INFO,
            "storage commitment was asked for",
            extra={
                "fields": {
                    "status": f"{reply.status:04X}",
                    "comment": reply.comment,
                    "tenant": self._sender.tenant_id,
                    "calling": self._sender.calling_ae_title,
                }
            },
        )
        self._answer(
            command,
            reply.status,
            reply.comment,
            affected_sop_class_uid=STORAGE_COMMITMENT,
            affected_sop_instance_uid=STORAGE_COMMITMENT_INSTANCE,
            action_type_id=command.number(Element.ACTION_TYPE_ID) or 0,
        )

    def _answer(
        self, command: CommandSet, status: int, comment: str = "", **more: int | str
    ) -> None:
        encoded = command_set(response(command, status, comment, **more))
        pdus = message(self._context_id, encoded, b"", self._negotiated.max_pdu)
        self.turns.end(pdus)

    def close(self) -> None:
        """Forget what was left half received."""
        self._services.collecting.pop(self, None)
        if self._reception is not None:
            self._reception.abandon()
        self.turns.close()


def _broken(what: str) -> BrokenProtocol:
    return BrokenProtocol(AbortReason.INVALID_PARAMETER, what)

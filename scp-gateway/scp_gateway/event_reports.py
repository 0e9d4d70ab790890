"""N-EVENT-REPORTs to the sender that asked for them, on its own association (PS3.7 §10.1.1)."""

from __future__ import annotations

import itertools
import time

from scp_gateway.command_set import (
    NO_DATA_SET,
    Command,
    CommandSet,
    Element,
    command_set,
    message,
)
from scp_gateway.negotiation import Negotiated
from scp_gateway.pdu import AbortReason, BrokenProtocol, HungUp
from scp_gateway.storage_commitment import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from scp_gateway.turns import Turns


class EventReports:
    """Sends reports and waits for their responses (`storage_commitment.EventReporter`).

    Parameters
    ----------
    negotiated
        The association.
    turns
        When to speak.
    """

    def __init__(self, negotiated: Negotiated, turns: Turns) -> None:
        self._max_pdu = negotiated.max_pdu
        self._turns = turns
        self._context_id, self._transfer_syntax = next(
            (
                (number, context.transfer_syntax)
                for number, context in negotiated.contexts.items()
                if context.abstract_syntax == STORAGE_COMMITMENT
            ),
            (0, ""),
        )
        self._message_ids = itertools.count(1)
        self._asked: set[int] = set()
        self._statuses: dict[int, int] = {}

    @property
    def transfer_syntax(self) -> str:
        """Transfer syntax of the Storage Commitment context; empty if there is none."""
        return self._transfer_syntax

    def report(self, event_type_id: int, information: bytes, seconds: float) -> int | None:
        """Send an N-EVENT-REPORT-RQ between two messages, from any thread.

        Parameters
        ----------
        event_type_id
            (0000,1002).
        information
            The data set, in `transfer_syntax`.
        seconds
            How long to wait for a moment between two messages, and for the response.

        Returns
        -------
        int or None
            The response's status; None if the association ended or there was no
            response in time.
        """
        if not self._context_id:
            return None
        deadline = time.monotonic() + seconds
        number = next(self._message_ids) & 0xFFFF
        request = command_set(
            {
                Element.AFFECTED_SOP_CLASS_UID: STORAGE_COMMITMENT,
                Element.COMMAND_FIELD: Command.N_EVENT_REPORT_RQ,
                Element.MESSAGE_ID: number,
                Element.COMMAND_DATA_SET_TYPE: NO_DATA_SET - 1,
                Element.AFFECTED_SOP_INSTANCE_UID: STORAGE_COMMITMENT_INSTANCE,
                Element.EVENT_TYPE_ID: event_type_id,
            }
        )
        self._asked.add(number)
        pdus = message(self._context_id, request, information, self._max_pdu)
        try:
            if not self._turns.send_between(pdus, seconds):
                return None
        except HungUp:
            return None
        with self._turns.changed:
            self._turns.changed.wait_for(
                lambda: number in self._statuses or self._turns.is_over,
                max(0.0, deadline - time.monotonic()),
            )
            return self._statuses.pop(number, None)

    def take(self, response: CommandSet) -> None:
        """Take an N-EVENT-REPORT-RSP.

        Raises
        ------
        BrokenProtocol
            If there was no such request.
        """
        number = response.number(Element.MESSAGE_ID_BEING_RESPONDED_TO)
        status = response.number(Element.STATUS)
        if number is None or number not in self._asked or status is None:
            raise BrokenProtocol(AbortReason.INVALID_PARAMETER, "a response nobody waits for")
        with self._turns.changed:
            self._asked.discard(number)
            self._statuses[number] = status

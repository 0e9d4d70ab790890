"""One association: negotiated, served, ended, and told of in one line of the log."""

from __future__ import annotations

import logging
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import pack
from typing import Final

from pacsless.storage import ObjectTooLarge, Sender, Status, StorageService
from scp_gateway.application_entities import ApplicationEntities, NotAdmitted
from scp_gateway.asked import Peer
from scp_gateway.connection import Connection
from scp_gateway.messages import Messages
from scp_gateway.negotiation import (
    LOCAL_LIMIT_EXCEEDED,
    Negotiated,
    Rejected,
    accept,
    read_request,
    reject,
)
from scp_gateway.pdu import (
    RELEASE_RP,
    RELEASE_RQ,
    SHORT_BYTES,
    AbortReason,
    BrokenProtocol,
    HungUp,
    PduType,
    abort,
)
from scp_gateway.presentation import Offer
from scp_gateway.storage_commitment import StorageCommitmentService
from scp_gateway.tls import certificate_of

_QUIET_SECONDS: Final = 1.0
"""A sender that is silent so long has come to the end of an instance."""
_RELEASE_SECONDS: Final = 2.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Services:
    """What the associations of a process share; what a reload replaces, it replaces here."""

    storage: StorageService
    commitment: StorageCommitmentService | None
    entities: ApplicationEntities
    tls: ssl.SSLContext | None
    offer: Offer
    idle_seconds: float
    association_bytes: int
    message_seconds: float
    """How long a message may take from its first fragment to its last."""
    on_end: Callable[[str], None]
    """Told how each association ended, for the metrics."""
    collecting: dict[Messages, int] = field(default_factory=dict)
    """Bytes of requests that are collected in memory, by association."""


class Association:
    """Runs on one thread; `step_down` may be called from others.

    Parameters
    ----------
    connection, peer
        With whom.
    services
        For what.
    """

    def __init__(self, connection: Connection, peer: Peer, services: Services) -> None:
        self._connection = connection
        self._peer = peer
        self._services = services
        self._began = time.monotonic()
        self._sender = Sender("", "", "", peer.address)
        self._messages: Messages | None = None
        self._bytes = 0
        self._active_at = self._began
        self._release_asked_at = 0.0

    def run(self) -> None:
        """Serve the association until its end."""
        end, why, farewell = "aborted", "", b""
        try:
            self._negotiate()
            end, farewell = "released", RELEASE_RP if self._serve() else b""
        except Rejected as error:
            end, why, farewell = "rejected", error.why, reject(*error.rejection)
        except NotAdmitted as error:
            end, why = "rejected", error.code
            farewell = reject(error.result, error.source, error.reason)
        except BrokenProtocol as error:
            # PS3.8 Table 9-10: AA-1, by the service user, while there is no association.
            why, farewell = error.what, abort(error.reason if self._messages else None)
        except ObjectTooLarge as error:
            why, farewell = error.code, abort(None)
        except HungUp as error:
            why = error.why
            # PS3.8 Table 9-10: before its A-ASSOCIATE-RQ a peer is told nothing (AA-2).
            if why in {"timeout", "stopped"} and self._messages is not None:
                farewell = abort(None)
        except Exception:  # noqa: BLE001  # this association ends, and no other
            _log.exception("an association failed")
            why, farewell = "bug", abort(None)
        finally:
            try:
                if self._messages is not None:
                    self._messages.close()
            finally:
                self._connection.close(farewell)
                self._services.on_end(end)
                self._tell(end, why)

    def _negotiate(self) -> None:
        certificate = None
        if self._peer.tls:
            assert self._services.tls is not None
            certificate = certificate_of(self._connection.secure(self._services.tls))
        # The connection's own deadline counts, from its first byte on.
        kind, body = self._connection.read_pdu(float("inf"))
        if kind == PduType.ABORT:
            raise HungUp("aborted by the sender")
        request = read_request(pack(">BxL", kind, len(body)) + body)
        # PS3.5 §6.2: spaces around a title are not significant; nothing else is forgiven.
        called = str(request.called_ae_title).strip(" ")
        calling = str(request.calling_ae_title).strip(" ")
        self._sender = Sender("", calling, called, self._peer.address)
        tenant = self._services.entities.admit(called, calling, self._peer.address, certificate)
        self._sender = Sender(tenant, calling, called, self._peer.address)
        if self._peer.over_limit:
            raise Rejected(LOCAL_LIMIT_EXCEEDED, "too many associations")
        if self._services.storage.space.is_full:
            # Before a study, rather than in its middle: many senders take a
            # failed instance for final and a rejection for transient.
            raise Rejected(LOCAL_LIMIT_EXCEEDED, "disk full")
        negotiated = accept(request, self._services.offer)
        self._begin(negotiated)
        self._connection.send(negotiated.accept)

    def _begin(self, negotiated: Negotiated) -> None:
        self._messages = Messages(self._connection, negotiated, self._sender, self._services)
        self._connection.settle(
            {
                PduType.P_DATA: self._services.offer.max_pdu,
                PduType.RELEASE_RQ: SHORT_BYTES,
                PduType.RELEASE_RP: SHORT_BYTES,
                PduType.ABORT: SHORT_BYTES,
            }
        )

    def _serve(self) -> bool:
        """Take PDUs until the association is released (PS3.8 §9.2.3, states 6 to 12).

        Returns
        -------
        bool
            Whether an A-RELEASE-RP is still owed.
        """
        collided = False
        messages = self._messages
        assert messages is not None
        read_pdu, idle_seconds = self._connection.read_pdu, self._services.idle_seconds
        while True:
            kind, body = read_pdu(idle_seconds)
            self._active_at = time.monotonic()
            self._bytes += len(body)
            if self._bytes > self._services.association_bytes:
                raise ObjectTooLarge("association-too-large", "an association sends too much")
            if kind == PduType.P_DATA:
                messages.take(body)
            elif kind == PduType.RELEASE_RQ and self._release_asked_at:
                # Both asked at once: the acceptor answers last (PS3.8 §9.2.3, AR-8 to AR-10).
                collided = True
            elif kind == PduType.RELEASE_RQ:
                return True
            elif kind == PduType.RELEASE_RP and self._release_asked_at:
                return collided
            elif kind == PduType.ABORT:
                raise HungUp("aborted by the sender")
            else:
                raise BrokenProtocol(AbortReason.UNEXPECTED_PDU, "a PDU nobody asked for")

    def step_down(self) -> None:
        """Ask a sender that is silent between two instances to release; call it now and then."""
        now = time.monotonic()
        if self._messages is None:
            self._connection.expire("stopped")
        elif self._release_asked_at:
            # It may have begun an instance before it saw our A-RELEASE-RQ.
            if now - max(self._release_asked_at, self._active_at) > _RELEASE_SECONDS:
                self._connection.expire("stopped")
        elif now - self._active_at > _QUIET_SECONDS:
            # Before it is sent: the response may be there at once.
            self._release_asked_at = now
            try:
                sent = self._messages.turns.try_send_between(RELEASE_RQ)
            except HungUp:
                return  # its own thread sees to the rest
            if not sent:
                self._release_asked_at = 0.0

    def hang_up(self) -> None:
        """End the association, whatever it is doing."""
        self._connection.expire("stopped")

    def _tell(self, end: str, why: str) -> None:
        answers = self._messages.answers if self._messages else Counter[Status]()
        _log.info(
            "association ended",
            extra={
                "fields": {
                    "end": end,
                    "why": why,
                    "tenant": self._sender.tenant_id,
                    "calling": self._sender.calling_ae_title,
                    "called": self._sender.called_ae_title,
                    "address": self._peer.address,
                    "tls": self._peer.tls,
                    "seconds": round(time.monotonic() - self._began, 3),
                    "storing_seconds": round(
                        self._messages.storing_seconds if self._messages else 0.0, 3
                    ),
                    "bytes": self._bytes,
                    "instances": {f"{status:04X}": count for status, count in answers.items()},
                }
            },
        )

"""One association: its socket, its negotiation and its life."""

from __future__ import annotations

import logging
import select
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.transport import AddressInformation, AssociationSocket

from scp_gateway.answers import Sender, Status
from scp_gateway.negotiation import supported
from scp_gateway.receive import StreamingProvider

if TYPE_CHECKING:
    from scp_gateway.application_entity import GatewayServer

# An A-ASSOCIATE-RQ with 128 contexts of all transfer syntaxes is below 200 KiB.
_MAX_PDU: Final = 1 << 20
_PDU_HEADER: Final = 6
_POLL_MS: Final = 2
_TRANSIENT, _PRESENTATION, _LOCAL_LIMIT = 2, 3, 2
_log = logging.getLogger(__name__)


class GatewaySocket(AssociationSocket):
    """Reads whole PDUs, in bounded memory and time, and acknowledges segments at once.

    Many senders leave Nagle's algorithm on, so they hold back the last segment
    of an instance until everything before it is acknowledged. With delayed
    acknowledgements that costs 40 ms twice an instance; TCP_QUICKACK spares
    it, and has to be set again after every read, as Linux clears it.
    """

    def __init__(self, association: Association, client: socket.socket, seconds: float) -> None:
        super().__init__(association, client_socket=client)
        self._seconds = seconds
        self._poll = select.poll()
        self._poll.register(client, select.POLLIN)

    @property
    def ready(self) -> bool:
        """Whether there is something to read; waits a moment for it."""
        if self.socket is None or not self._is_connected:
            return False
        try:
            return bool(self._poll.poll(_POLL_MS))
        except OSError:
            self.event_queue.put("Evt17")
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes`, or fewer if the sender hangs up.

        Raises
        ------
        OSError
            If the PDU is larger than any that was agreed on, or does not come in time.
        """
        if nr_bytes > _MAX_PDU:
            raise OSError("the sender announced a PDU larger than was negotiated")
        client = self.socket
        assert client is not None
        buffer = bytearray(nr_bytes)
        view = memoryview(buffer)
        deadline = time.monotonic() + self._seconds
        got = 0
        while got < nr_bytes:
            read = client.recv_into(view[got:])
            if not read:
                break
            got += read
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if time.monotonic() > deadline:
                raise TimeoutError("the sender is too slow")
        view.release()
        del buffer[got:]
        return buffer


class GatewayAssociation(Association):
    """An association that stores what it receives.

    Parameters
    ----------
    server
        Where the connection came in.
    client, address
        The connection.
    """

    def __init__(self, server: GatewayServer, client: socket.socket, address: Any) -> None:
        super().__init__(server.ae, MODE_ACCEPTOR)
        self._server = self._gateway = server
        self._address = str(address[0])
        self._connected_at = time.monotonic()
        # pynetdicom counts the threads of this name against its maximum.
        self.name = f"AcceptorThread@{self._address}:{address[1]}"
        # The socket's own wait is all the reader needs (`GatewaySocket.ready`).
        self.dul._run_loop_delay = 0
        self.dul.daemon = True
        self.dimse: StreamingProvider = StreamingProvider(self, server.service)
        self.set_socket(GatewaySocket(self, client, server.settings.idle_seconds))
        self.acceptor.maximum_length = server.ae.maximum_pdu_size
        self.acceptor.ae_title = server.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(server.server_address)
        self.acceptor.implementation_class_uid = server.ae.implementation_class_uid
        self.acceptor.implementation_version_name = server.ae.implementation_version_name
        self.requestor.address_info = AddressInformation.from_tuple(address)
        self.bind(evt.EVT_REQUESTED, self._requested)

    def _requested(self, _event: evt.Event) -> None:
        """Prepare the negotiation (PS3.8 §7.1.1), which pynetdicom then carries out."""
        request = self.requestor.primitive
        assert request is not None
        called = str(request.called_ae_title).strip()
        tenant = self._gateway.tenants.get(called)
        self.dimse.sender = Sender(
            tenant or "", str(request.calling_ae_title).strip(), called, self._address
        )
        if tenant is None:
            # Not our title: "called AE title not recognised" follows from that.
            self.acceptor.ae_title = "?" if called != "?" else "-"
            return
        self.acceptor.ae_title = called
        if self._gateway.service.outbox.is_full:
            # Before a study, rather than in its middle: many senders take a
            # failed instance for final and a rejection for transient.
            self.acse.send_reject(_TRANSIENT, _PRESENTATION, _LOCAL_LIMIT)
            self.kill()
            return
        self.acceptor.supported_contexts = supported(
            request.presentation_context_definition_list, self._gateway.settings.any_sop_class
        )

    def _serve_request(self, msg: Any, context_id: int) -> None:
        if isinstance(msg, C_STORE):
            # Those with a data set never come here.
            msg.MessageIDBeingRespondedTo = msg.MessageID
            msg.Status = int(Status.CANNOT_UNDERSTAND)
            msg.ErrorComment = "missing-data-set: a C-STORE-RQ has one"  # type: ignore[assignment]
            msg.DataSet = None
            self.dimse.answers[Status.CANNOT_UNDERSTAND] += 1
            self.dimse.send_msg(msg, context_id)
        else:
            super()._serve_request(msg, context_id)

    def hang_up(self) -> None:
        """Close the connection under whatever the association waits for."""
        client = self.dul.socket.socket if self.dul.socket else None
        if client is not None:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # the sender was faster

    def ended(self) -> None:
        """Clean up, and log the association in one line."""
        self.dul.join(self._gateway.settings.idle_seconds)
        self.dimse.close()
        sender = self.dimse.sender
        how = "rejected" if self.is_rejected else "released" if self.is_released else "aborted"
        _log.info(
            "association ended",
            extra={
                "fields": {
                    "end": how,
                    "tenant": sender.tenant_id if sender else "",
                    "calling": sender.calling_ae_title if sender else "",
                    "called": sender.called_ae_title if sender else "",
                    "address": self._address,
                    "seconds": round(time.monotonic() - self._connected_at, 3),
                    "instances": {
                        f"{status:04X}": count for status, count in self.dimse.answers.items()
                    },
                }
            },
        )

"""The application entity: listens, limits and stops."""

from __future__ import annotations

import logging
import socket
import threading
import time
from socketserver import BaseRequestHandler
from typing import Any, Final

from pynetdicom import AE, _config
from pynetdicom.transport import ThreadedAssociationServer

from pacsless.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from scp_gateway.association import GatewayAssociation
from scp_gateway.c_store import StorageService
from scp_gateway.negotiation import VERIFICATION
from scp_gateway.settings import GatewaySettings

# Connections that have not asked for an association yet, beside those that have.
_SPARE_CONNECTIONS: Final = 64
_IDLE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.05
_log = logging.getLogger(__name__)


class _Connection(BaseRequestHandler):
    """Runs the association of a connection, on a thread of the server."""

    server: GatewayServer

    def handle(self) -> None:
        association = GatewayAssociation(self.server, self.request, self.client_address)
        with self.server.connected(association):
            association.start()
            association.join()
            association.ended()


class _Connected:
    """Keeps an association in the server's list while it lives."""

    def __init__(self, associations: set[GatewayAssociation], one: GatewayAssociation) -> None:
        self._associations = associations
        self._one = one

    def __enter__(self) -> None:
        self._associations.add(self._one)

    def __exit__(self, *exc: object) -> None:
        self._associations.discard(self._one)


class GatewayServer(ThreadedAssociationServer):
    """Accepts connections."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, ae: AE, settings: GatewaySettings, service: StorageService) -> None:
        self.settings = settings
        self.service = service
        self.tenants = settings.tenants
        self.associations: set[GatewayAssociation] = set()
        super().__init__(
            ae,
            (settings.host, settings.port),
            next(iter(self.tenants)),
            [],
            request_handler=_Connection,
        )

    def connected(self, association: GatewayAssociation) -> _Connected:
        """Count an association among the live ones."""
        return _Connected(self.associations, association)

    def get_request(self) -> tuple[socket.socket, Any]:
        client, address = super().get_request()
        client.settimeout(self.settings.idle_seconds)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuse connections before they cost two threads."""
        limit = self.settings.max_associations + _SPARE_CONNECTIONS
        if len(self.associations) < limit:
            return True
        _log.warning("too many connections", extra={"fields": {"address": client_address[0]}})
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.exception("a connection failed", extra={"fields": {"address": client_address[0]}})


class ApplicationEntity:
    """The Storage SCP.

    Parameters
    ----------
    settings
        Where to listen, for whom.
    service
        What stores the instances.
    """

    def __init__(self, settings: GatewaySettings, service: StorageService) -> None:
        # pynetdicom's own log handlers describe every PDU, used or not.
        _config.LOG_HANDLER_LEVEL = "none"
        ae = AE()
        ae.maximum_associations = settings.max_associations
        ae.maximum_pdu_size = settings.max_pdu
        ae.acse_timeout = settings.association_seconds
        ae.dimse_timeout = settings.idle_seconds
        ae.network_timeout = settings.idle_seconds
        ae.require_called_aet = True
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.add_supported_context(VERIFICATION)
        self._server = GatewayServer(ae, settings, service)
        ae._servers.append(self._server)  # its shutdown() takes it off that list
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="listener", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def associations(self) -> int:
        """How many connections there are now."""
        return len(self._server.associations)

    @property
    def is_listening(self) -> bool:
        """Whether connections are accepted."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Accept connections."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Stop listening, let senders finish, and end what is left after `seconds`.

        A sender that is silent between two instances is aborted at once: it
        will find another gateway, or this one restarted.
        """
        self._server.shutdown()
        deadline = time.monotonic() + seconds
        busy_at: dict[GatewayAssociation, float] = {}
        aborted_at: dict[GatewayAssociation, float] = {}
        while self._server.associations and time.monotonic() < deadline:
            clock = time.monotonic()
            for one in self._server.associations.copy():
                if one in aborted_at:
                    if clock - aborted_at[one] > _IDLE_SECONDS:
                        one.hang_up()  # it was the sender's turn to do so
                elif one.dimse.is_busy or one not in busy_at:
                    busy_at[one] = clock
                elif clock - busy_at[one] > _IDLE_SECONDS:
                    aborted_at[one] = clock
                    one.abort(block=False)
            time.sleep(_LOOK_SECONDS)
        for one in self._server.associations.copy():
            one.hang_up()
        self._thread.join(1)

"""The gateway, put together."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from pacsless.archive import open_archive
from pacsless.errors import PacslessError
from pacsless.outbox import Outbox
from pacsless.settings import Settings
from scp_gateway.admin import AdminServer, Metrics
from scp_gateway.application_entity import ApplicationEntity
from scp_gateway.c_store import StorageService
from scp_gateway.recovery import FORGOTTEN_SECONDS, recover
from scp_gateway.relay import RecordSender, Relay
from scp_gateway.settings import GatewaySettings

_log = logging.getLogger(__name__)


class Gateway:
    """Receives instances until it is told to stop.

    Parameters
    ----------
    settings, own
        The project's settings and the gateway's.
    producer
        Where events go.

    Raises
    ------
    OutboxOwned
        If another gateway has this spool.
    ArchiveUnavailable
        If promises of an earlier run cannot be looked after.
    OSError
        If a port is taken.
    """

    def __init__(self, settings: Settings, own: GatewaySettings, producer: RecordSender) -> None:
        self._own = own
        self._archive = open_archive(settings)
        self._outbox = Outbox(Path(settings.spool), high_water_percent=own.high_water_percent)
        _log.info("recovered", extra={"fields": recover(self._archive, self._outbox)})
        self._stopping = threading.Event()
        self._metrics = Metrics(self._outbox)
        self._service = StorageService(self._archive, self._outbox, self._metrics.count)
        self._entity = ApplicationEntity(own, self._service)
        self._metrics.associations = lambda: self._entity.associations
        self._relay = Relay(self._outbox, producer)
        self._admin = AdminServer(own.host, own.admin_port, self._metrics, self._not_ready)

    @property
    def port(self) -> int:
        """The DICOM port."""
        return self._entity.port

    @property
    def admin_port(self) -> int:
        """The HTTP port."""
        return int(self._admin.server_address[1])

    def start(self) -> None:
        """Take instances; returns at once."""
        self._relay.start()
        self._entity.start()
        self._admin.start()
        _log.info(
            "listening",
            extra={
                "fields": {
                    "host": self._own.host,
                    "port": self.port,
                    "admin_port": self.admin_port,
                    "ae_titles": dict(self._own.tenants),
                }
            },
        )

    def sweep(self) -> None:
        """Remove what senders left half received; call it now and then."""
        try:
            self._archive.sweep(set(), FORGOTTEN_SECONDS)
        except (OSError, PacslessError):
            _log.exception("could not sweep the incoming folder")

    def stop(self) -> None:
        """Let senders finish, publish what can be published, and stop."""
        self._stopping.set()
        self._entity.stop(self._own.stop_seconds)
        self._relay.stop(self._own.stop_seconds)
        left = self._outbox.depth.entries
        self._admin.shutdown()
        self._admin.server_close()
        self._outbox.close()
        _log.info("stopped", extra={"fields": {"waiting_for_kafka": left}})

    def _not_ready(self) -> str:
        if self._stopping.is_set():
            return "stopping"
        if not self._entity.is_listening:
            return "not listening"
        return "the spool's disk is above its high-water mark" if self._outbox.is_full else ""

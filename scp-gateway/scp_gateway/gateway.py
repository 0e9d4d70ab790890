"""The gateway, put together: it listens, receivers receive, a relay tells Kafka."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any, Final

from pacsless.archive import ArchiveUnavailable, open_archive
from pacsless.errors import PacslessError
from pacsless.outbox import Backlog, Outbox, OutboxOwned, Owner, outbox_folders
from pacsless.postgres import Database
from pacsless.settings import InvalidSetting, Settings
from pacsless.storage import FORGOTTEN_SECONDS, incoming_owner, recover
from scp_gateway import process
from scp_gateway.admin import AdminServer, Metrics
from scp_gateway.application_entities import ApplicationEntities, Remote
from scp_gateway.listener import Admission, Listener
from scp_gateway.receivers import ReceiverProcess
from scp_gateway.relay import RecordSender, Relay
from scp_gateway.settings import GatewaySettings
from scp_gateway.storage_commitment import Checker, Deliverer, Transactions

_FORMER_SECONDS: Final = 30.0
"""How long a receiver of a gateway that was killed may take to notice."""
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
    JournalUnavailable
        If what became of them cannot be written down.
    OldJournal
        If one is of an earlier version.
    InvalidSetting
        If a file that a setting names is not what it should be.
    OSError
        If a port is taken.
    """

    def __init__(self, settings: Settings, own: GatewaySettings, producer: RecordSender) -> None:
        self._own = own
        self._spool = Path(settings.spool)
        self._owner = Owner(self._spool)
        self._archive = open_archive(settings)
        try:
            self._archive.probe()
        except ArchiveUnavailable:
            # A disk that is full now, or a store that does not answer: senders are told so.
            _log.warning("the archive could not be tried out", exc_info=True)
        self._entities_text = self._seen_text = own.entities_text()
        self._entities = self._read_entities(self._entities_text)
        own.tls_context()  # wrong files are told of now, not by every receiver
        count = own.processes or process.cores()
        for folder in {
            *(one for one in outbox_folders(self._spool) if process.receiver_of(one) >= 0),
            *(process.outbox_folder(self._spool, number) for number in range(count)),
        }:
            self._recover_folder(folder)
        self._stopping = threading.Event()
        self._checking = threading.Thread()
        self._backlog = Backlog(lambda: outbox_folders(self._spool))
        self._relay = Relay(self._backlog, producer)
        self._admission = Admission(own.max_associations, own.max_associations_per_address)
        self._receivers = [
            ReceiverProcess(
                number,
                self._backlog.event,
                recover=self._recover,
                first_message=self._entities_message,
                on_ended=self._admission.leave,
            )
            for number in range(count)
        ]
        self._listeners = [
            Listener(
                own.host,
                port,
                tls=tls,
                admission=self._admission,
                receivers=self._receivers,
                entities=lambda: self._entities,
            )
            for port, tls in ((own.port, False), (own.tls_port, True))
            if port >= 0
        ]
        self._deliverer = self._make_deliverer(settings) if own.storage_commitment else None
        self._metrics = Metrics(
            self._backlog, self._receivers, self._listeners, self._admission, self._deliverer
        )
        self._admin = AdminServer(
            own.admin_host or own.host,
            own.admin_port,
            self._metrics,
            self._not_alive,
            self._not_ready,
        )

    def _make_deliverer(self, settings: Settings) -> Deliverer:
        return Deliverer(
            Transactions(self._spool),
            Checker(
                Database.from_settings(settings),
                self._archive,
                wait_seconds=self._own.commitment_wait_seconds,
            ),
            self._remote,
            tls=self._own.outgoing_tls_context,
            retry_seconds=self._own.commitment_retry_seconds,
        )

    @property
    def admin_port(self) -> int:
        """The HTTP port."""
        return int(self._admin.server_address[1])

    def start(self) -> None:
        """Take instances; returns at once."""
        self._relay.start()
        self._admin.start()
        for receiver in self._receivers:
            receiver.start()
        for listener in self._listeners:
            listener.start()
        if self._deliverer is not None:
            self._deliverer.start()
        _log.info(
            "listening",
            extra={
                "fields": {
                    "host": self._own.host,
                    "ports": {one.name: one.port for one in self._listeners},
                    "admin_port": self.admin_port,
                    "processes": len(self._receivers),
                    "ae_titles": self._entities.tenants,
                }
            },
        )

    def reload(self) -> None:
        """Read the AE file and the TLS files again; associations go on as they were admitted."""
        try:
            text = self._own.entities_text()
            entities = self._read_entities(text)
            self._own.tls_context()
        except PacslessError:
            _log.exception("the new configuration is not used: the old one stays")
            return
        self._entities_text, self._entities = text, entities
        for receiver in self._receivers:
            receiver.tell(self._entities_message())
        _log.info("configuration read again", extra={"fields": {"ae_titles": entities.tenants}})

    def look(self) -> None:
        """Reload if the AE file has changed, and see whether receivers answer.

        A ConfigMap's update sends no signal. What is wrong with a file is said once.
        """
        if not self._checking.is_alive():
            self._checking = threading.Thread(target=self._check, daemon=True)
            self._checking.start()
        if not self._own.ae_file:
            return
        try:
            text: str | None = self._own.entities_text()
        except PacslessError:
            text = None
        if text != self._seen_text:
            self._seen_text = text
            self.reload()

    def _check(self) -> None:
        for receiver in self._receivers:
            receiver.check()

    def sweep(self) -> None:
        """Remove what senders left half received; call it now and then."""
        try:
            self._archive.sweep(FORGOTTEN_SECONDS)
        except (OSError, PacslessError):
            _log.exception("could not sweep the incoming folder")

    def stop(self) -> None:
        """Let senders finish, publish what can be published, and stop."""
        self._stopping.set()
        for listener in self._listeners:
            listener.stop()
        for receiver in self._receivers:
            receiver.stop(self._own.stop_seconds)
        for receiver in self._receivers:
            receiver.join(2 * self._own.stop_seconds + 5)
        if self._deliverer is not None:
            self._deliverer.stop(1.0)
        self._relay.stop(self._own.stop_seconds)
        left = self._backlog.depth.entries
        self._admin.shutdown()
        self._admin.server_close()
        _log.info("stopped", extra={"fields": {"waiting_for_kafka": left}})

    def _remote(self, tenant_id: str, title: str) -> Remote | None:
        return self._entities.remote(tenant_id, title)

    def _read_entities(self, text: str | None) -> ApplicationEntities:
        try:
            entities = process.entities_of(process.entities_message(self._own.ae_titles, text))
        except InvalidSetting as error:
            where = f"{self._own.ae_file}: " if text is not None else ""
            raise InvalidSetting(error.code, f"{where}{error.message}") from None
        if entities.needs_certificates and not self._own.tls_client_ca:
            raise InvalidSetting(
                "setting",
                f"{self._own.ae_file} lists client certificates: set "
                "PACSLESS_GATEWAY_TLS_CLIENT_CA, or nobody can show one",
            )
        return entities

    def _entities_message(self) -> dict[str, Any]:
        return process.entities_message(self._own.ae_titles, self._entities_text)

    def _recover(self, number: int) -> None:
        self._recover_folder(process.outbox_folder(self._spool, number))

    def _recover_folder(self, folder: Path) -> None:
        """Look after what a receiver has left; a receiver that still ends is waited for."""
        deadline = time.monotonic() + _FORMER_SECONDS
        while True:
            try:
                outbox = Outbox(folder)
                break
            except OutboxOwned:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        try:
            owner = incoming_owner(self._spool, str(process.receiver_of(folder)))
            found = recover(self._archive, outbox, owner)
        finally:
            outbox.close()
        if any(found.values()):
            _log.warning("recovered", extra={"fields": {"outbox": folder.name, **found}})

    def _not_alive(self) -> str:
        if all(one.statistics()[0] for one in self._receivers if one.is_ready):
            return ""
        return "a receiver does not answer"

    def _not_ready(self) -> str:
        if self._stopping.is_set():
            return "stopping"
        if not all(one.is_alive() for one in self._listeners):
            return "not listening"
        if not any(one.is_ready for one in self._receivers):
            return "no receiver is ready"
        if any(one.statistics()[1]["is_full"] for one in self._receivers):
            return "a disk is above its high-water mark"
        return ""

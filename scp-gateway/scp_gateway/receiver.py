"""``python -m scp_gateway.receiver``: a process that serves associations; the gateway starts it.

It gets connections and orders from the gateway over a channel, and ends with
it: a gateway that was killed must not go on acknowledging while its successor
looks through the outbox.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from pacsless.archive import open_archive
from pacsless.archive.files import FileArchive
from pacsless.errors import PacslessError
from pacsless.outbox import DiskSpace, Outbox
from pacsless.postgres import Database
from pacsless.settings import Settings
from pacsless.storage import Answer, Limits, StorageService, incoming_owner
from scp_gateway import process
from scp_gateway.application_entities import ApplicationEntities
from scp_gateway.asked import Peer
from scp_gateway.association import Association, Services
from scp_gateway.channel import Channel
from scp_gateway.connection import Connection
from scp_gateway.presentation import Offer
from scp_gateway.settings import GatewaySettings
from scp_gateway.storage_commitment import Checker, StorageCommitmentService, Transactions
from scp_gateway.watchdog import Watchdog

_STOP_LOOK_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 0.5
_log = logging.getLogger(__name__)


class Receiver:
    """Serves the connections it is given, each on a thread.

    Parameters
    ----------
    channel
        To the gateway.
    settings, own
        The project's settings and the gateway's.
    number
        Which of the gateway's receivers this is.
    event
        Descriptor of the relay's eventfd.
    """

    def __init__(
        self, channel: Channel, settings: Settings, own: GatewaySettings, number: int, event: int
    ) -> None:
        self._channel = channel
        self._own = own
        archive = open_archive(settings)
        spool = Path(settings.spool)
        self._outbox = Outbox(
            process.outbox_folder(spool, number), lambda: os.eventfd_write(event, 1)
        )
        folders = [spool, *([archive.root] if isinstance(archive, FileArchive) else [])]
        self._answers: Counter[tuple[str, str]] = Counter()
        self._ends: Counter[str] = Counter()
        self._bytes = 0
        self._counting = threading.Lock()
        self._commitment = (
            StorageCommitmentService(
                Transactions(spool),
                Checker(
                    Database.from_settings(settings),
                    archive,
                    wait_seconds=own.commitment_wait_seconds,
                ),
            )
            if own.storage_commitment
            else None
        )
        self._services = Services(
            storage=StorageService(
                archive,
                self._outbox,
                DiskSpace(folders, own.high_water_percent),
                incoming_owner(spool, str(number)),
                self._count_answer,
                limits=Limits(own.max_object_mb << 20, own.max_tenant_mb << 20),
            ),
            commitment=self._commitment,
            entities=ApplicationEntities.from_titles(own.ae_titles),
            tls=own.tls_context(),
            offer=Offer(own.max_pdu, own.any_sop_class, own.storage_commitment),
            idle_seconds=own.idle_seconds,
            association_bytes=own.max_association_mb << 20,
            message_seconds=own.message_seconds,
            on_end=self._count_end,
        )
        self._watchdog = Watchdog()
        self._associations: set[Association] = set()

    def run(self) -> None:
        """Do what the gateway says, until it is gone or says stop."""
        self._watchdog.start()
        threading.Thread(target=self._look_after, name="disks", daemon=True).start()
        self._channel.send({"ready": True})
        while (received := self._channel.receive()) is not None:
            message, client = received
            match message:
                case {"connection": number, "peer": peer}:
                    self._begin(client, Peer(**peer), number)
                case {"statistics": number}:
                    self._channel.send({"statistics": number, **self._statistics()})
                case {"entities": _}:
                    self._reload(message)
                case {"stop": seconds}:
                    threading.Thread(target=self._stop, args=(seconds,)).start()

    def _begin(self, client: socket.socket | None, peer: Peer, number: int) -> None:
        try:
            if client is None:
                raise RuntimeError("out of descriptors")
            threading.Thread(target=self._serve, args=(client, peer, number), daemon=True).start()
        except RuntimeError as error:
            # No thread can be started, or the connection got lost on its way.
            _log.error("a connection cannot be served: %s", error)
            if client is not None:
                client.close()
            self._channel.send({"ended": number})

    def _reload(self, message: dict[str, Any]) -> None:
        self._services.entities = process.entities_of(message)
        try:
            self._services.tls = self._own.tls_context()
        except PacslessError:
            # The gateway has just read them: they are being changed again.
            _log.exception("the TLS files could not be read; what they were before stays")

    def _look_after(self) -> None:
        """Ask the disks what they will take, and give the journal what they did not."""
        while True:
            time.sleep(_LOOK_SECONDS)
            self._services.storage.space.look()
            self._outbox.settle()

    def _serve(self, client: socket.socket, peer: Peer, number: int) -> None:
        try:
            client.setblocking(True)
            connection = Connection(client, self._own.association_seconds, self._own.pdu_seconds)
            association = Association(connection, peer, self._services)
            self._watchdog.watch(connection)
            self._associations.add(association)
            try:
                association.run()
            finally:
                self._associations.discard(association)
                self._watchdog.forget(connection)
        except OSError:
            _log.info("a connection ended before it began")
        finally:
            client.close()
            with contextlib.suppress(OSError):  # the gateway is gone, and this process about to be
                self._channel.send({"ended": number})

    def _stop(self, seconds: float) -> None:
        """Let senders finish for `seconds`, end what is left, and leave."""
        deadline = time.monotonic() + seconds
        while self._associations and time.monotonic() < deadline:
            for one in self._associations.copy():
                one.step_down()
            time.sleep(_STOP_LOOK_SECONDS)
        for one in self._associations.copy():
            one.hang_up()
        deadline = time.monotonic() + seconds
        while self._associations and time.monotonic() < deadline:
            time.sleep(_STOP_LOOK_SECONDS)
        if self._commitment is not None:
            self._commitment.stop(1.0)
        if not self._associations:
            # Else one may still be storing: the lock goes with the process.
            self._outbox.close()
        self._channel.send({"stopped": self._statistics()})
        self._channel.close()

    def _count_answer(self, answer: Answer, received: int) -> None:
        with self._counting:
            self._answers[answer.outcome, f"{answer.status:04X}"] += 1
            self._bytes += received

    def _count_end(self, end: str) -> None:
        with self._counting:
            self._ends[end] += 1

    def _statistics(self) -> dict[str, Any]:
        with self._counting:
            return {
                "answers": [[*key, count] for key, count in self._answers.items()],
                "ends": dict(self._ends),
                "bytes": self._bytes,
                "commitments": self._commitment.counts() if self._commitment else {},
                "is_full": self._services.storage.space.is_full,
            }


def main(arguments: list[str]) -> int:
    """Serve until the channel closes; ``NUMBER CHANNEL EVENT`` are the arguments."""
    number, descriptor, event = map(int, arguments)
    settings = process.begin()
    channel = Channel(socket.socket(fileno=descriptor))
    receiver = Receiver(channel, settings, GatewaySettings.from_environ(), number, event)
    # What is there now stays for good; it need not be looked through again and again.
    gc.collect()
    gc.freeze()
    receiver.run()
    # Associations may be left on their threads: the gateway is gone, or has waited enough.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

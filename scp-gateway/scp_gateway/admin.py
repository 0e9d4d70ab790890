"""The admin port: is the gateway alive, can it take instances, and what has it done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pacsless.outbox import Outbox
from scp_gateway.answers import Answer

_log = logging.getLogger(__name__)


class Metrics(Collector):
    """What the gateway counts; labels name outcomes and statuses, never AE titles or UIDs."""

    def __init__(self, outbox: Outbox) -> None:
        self.registry = CollectorRegistry()
        self.associations: Callable[[], int] = lambda: 0
        self._outbox = outbox
        self._instances = Counter(
            "pacsless_gateway_instances",
            "C-STORE requests answered.",
            ["outcome", "status"],
            registry=self.registry,
        )
        self._bytes = Counter(
            "pacsless_gateway_received_bytes",
            "Bytes of the data sets received.",
            registry=self.registry,
        )
        self.registry.register(self)

    def count(self, answer: Answer, received: int) -> None:
        """Count an answered request."""
        self._instances.labels(answer.outcome, f"{answer.status:04X}").inc()
        self._bytes.inc(received)

    def collect(self) -> Iterator[Metric]:
        """Look at what is counted elsewhere."""
        depth = self._outbox.depth
        for name, help_text, value in (
            ("outbox_depth", "Entries that wait for Kafka.", depth.entries),
            ("outbox_oldest_seconds", "Age of the oldest of them.", depth.oldest_seconds),
            ("associations", "Connections at present.", self.associations()),
            ("spool_full", "Whether the spool's disk is above its mark.", self._outbox.is_full),
        ):
            yield GaugeMetricFamily(f"pacsless_gateway_{name}", help_text, value=float(value))


class AdminServer(ThreadingHTTPServer):
    """Serves ``/healthz``, ``/readyz`` and ``/metrics``.

    Parameters
    ----------
    host, port
        Where to listen; 0 for any free port.
    metrics
        What ``/metrics`` shows.
    not_ready
        Says in a few words why no instances can be taken now, or nothing.
    """

    daemon_threads = True

    def __init__(
        self, host: str, port: int, metrics: Metrics, not_ready: Callable[[], str]
    ) -> None:
        self.metrics = metrics
        self.not_ready = not_ready
        super().__init__((host, port), _Handler)

    def start(self) -> None:
        """Serve on a thread."""
        threading.Thread(target=self.serve_forever, name="admin", daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: AdminServer
    timeout = 10

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/healthz":
                self._send(HTTPStatus.OK, b"ok\n")
            case "/readyz":
                why = self.server.not_ready()
                status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
                self._send(status, f"{why or 'ready'}\n".encode())
            case "/metrics":
                page = generate_latest(self.server.metrics.registry)
                self._send(HTTPStatus.OK, page, CONTENT_TYPE_LATEST)
            case _:
                self._send(HTTPStatus.NOT_FOUND, b"try /healthz, /readyz or /metrics\n")

    def _send(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: probes come every few seconds."""

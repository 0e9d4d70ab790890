"""The admin port: is the gateway alive, can it take instances, and what has it done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pacsless.outbox import Backlog
from scp_gateway.listener import Admission, Listener, cannot_listen
from scp_gateway.receivers import NOTHING, ReceiverProcess, add
from scp_gateway.storage_commitment import Deliverer

_MAX_REQUESTS: Final = 32
"""At a time; more are closed unheard, as probes are two and scrapers few."""


class Metrics(Collector):
    """What the gateway counts; labels name outcomes and statuses, never AE titles or UIDs."""

    def __init__(
        self,
        backlog: Backlog,
        receivers: Sequence[ReceiverProcess],
        listeners: Sequence[Listener],
        admission: Admission,
        deliverer: Deliverer | None,
    ) -> None:
        self.registry = CollectorRegistry()
        self._backlog = backlog
        self._receivers = receivers
        self._listeners = listeners
        self._admission = admission
        self._deliverer = deliverer
        self.registry.register(self)

    def describe(self) -> list[Metric]:
        """Nothing beforehand: what there is, is asked of the receivers."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Ask those who count."""
        depth = self._backlog.depth
        counted = reduce(add, (one.statistics()[1] for one in self._receivers), NOTHING)
        for name, help_text, value in (
            ("outbox_depth", "Entries that wait for Kafka.", depth.entries),
            ("outbox_oldest_seconds", "Age of the oldest of them.", depth.oldest_seconds),
            ("associations", "Connections at present.", len(self._admission)),
            ("spool_full", "Whether a disk is above its mark.", counted["is_full"]),
            ("receivers", "Receivers at work.", sum(one.is_ready for one in self._receivers)),
        ):
            yield GaugeMetricFamily(f"pacsless_gateway_{name}", help_text, value=float(value))
        yield self._counter(
            "instances", "C-STORE requests answered.", ["outcome", "status"],
            [((outcome, status), count) for outcome, status, count in counted["answers"]],
        )  # fmt: skip
        yield self._counter(
            "associations_ended", "Associations, by their end.", ["end"],
            [((end,), count) for end, count in counted["ends"].items()],
        )  # fmt: skip
        yield self._counter(
            "received_bytes", "Bytes of the data sets received.", [], [((), counted["bytes"])]
        )
        yield self._counter(
            "refused_connections", "Connections closed unheard.", [],
            [((), sum(one.refused for one in self._listeners))],
        )  # fmt: skip
        if self._deliverer is not None:
            commitments = dict(counted["commitments"])
            for outcome, count in self._deliverer.counts().items():
                commitments[outcome] = commitments.get(outcome, 0) + count
            pending = commitments.pop("pending", 0)
            yield GaugeMetricFamily(
                "pacsless_gateway_commitments_pending",
                "Storage commitments whose result the sender does not have.",
                value=float(pending),
            )
            yield self._counter(
                "commitments", "Storage commitment requests, by outcome.", ["outcome"],
                [((outcome,), count) for outcome, count in commitments.items()],
            )  # fmt: skip

    def _counter(
        self,
        name: str,
        help_text: str,
        labels: list[str],
        values: list[tuple[tuple[str, ...], int]],
    ) -> Metric:
        family = CounterMetricFamily(f"pacsless_gateway_{name}", help_text, labels=labels)
        for label_values, value in values:
            family.add_metric(label_values, value)
        return family


class AdminServer(ThreadingHTTPServer):
    """Serves ``/healthz``, ``/readyz`` and ``/metrics``.

    Parameters
    ----------
    host, port
        Where to listen; 0 for any free port.
    metrics
        What ``/metrics`` shows.
    not_alive, not_ready
        Say in a few words why the gateway is to be started again, or why no
        instances can be taken now; or nothing.
    """

    daemon_threads = True
    request_queue_size = _MAX_REQUESTS

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        not_alive: Callable[[], str],
        not_ready: Callable[[], str],
    ) -> None:
        self.metrics = metrics
        self.not_alive = not_alive
        self.not_ready = not_ready
        self._places = threading.BoundedSemaphore(_MAX_REQUESTS)
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise cannot_listen("ADMIN_PORT", host, port, error) from None

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a request on a thread of its own, if there are not too many."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Give the place back in the end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def start(self) -> None:
        """Serve on a thread."""
        threading.Thread(target=self.serve_forever, name="admin", daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: AdminServer
    timeout = 10

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/healthz":
                self._send_state(self.server.not_alive(), "ok")
            case "/readyz":
                self._send_state(self.server.not_ready(), "ready")
            case "/metrics":
                page = generate_latest(self.server.metrics.registry)
                self._send(HTTPStatus.OK, page, CONTENT_TYPE_LATEST)
            case _:
                self._send(HTTPStatus.NOT_FOUND, b"try /healthz, /readyz or /metrics\n")

    def _send_state(self, why_not: str, fine: str) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if why_not else HTTPStatus.OK
        self._send(status, f"{why_not or fine}\n".encode())

    def _send(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: probes come every few seconds."""

"""Every metric there is; labels name functions, types and codes, never UIDs or tenants."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

EVENTS: Final = Counter(
    "pacsless_events",
    "Events a function was given, by what became of their batch: done or an error's code.",
    ["function", "type", "outcome"],
)
BATCH_SECONDS: Final = Histogram(
    "pacsless_batch_seconds",
    "Time a function took for a batch.",
    ["function"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
PUBLISHED: Final = Counter(
    "pacsless_published_events", "Events a function sent.", ["function", "type"]
)
REQUESTS: Final = Counter(
    "pacsless_requests", "Requests an HTTP function answered.", ["function", "route", "status"]
)
REQUEST_SECONDS: Final = Histogram(
    "pacsless_request_seconds",
    "Time until an HTTP function began its answer.",
    ["function", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
# Looking labels up takes as long as counting ten times.
_requests: Final = lru_cache(1024)(REQUESTS.labels)
_request_seconds: Final = lru_cache(1024)(REQUEST_SECONDS.labels)
STORED: Final = Counter(
    "pacsless_stow_instances",
    "Instances that came by STOW-RS, by what became of them, and the reason told.",
    ["outcome", "status"],
)
STORED_BYTES: Final = Counter("pacsless_stow_bytes", "Bytes of instances that came by STOW-RS.")
TRIGGER_LAG: Final = Gauge(
    "pacsless_trigger_lag",
    "Events from the committed offset to the end, in the partitions this trigger holds.",
    ["function", "topic"],
)
TRIGGER_OLDEST_SECONDS: Final = Gauge(
    "pacsless_trigger_oldest_seconds",
    "Age of the oldest event not handled, read or not, in the partitions this trigger holds.",
    ["function", "topic"],
)
TRIGGER_WORKERS: Final = Gauge(
    "pacsless_trigger_workers", "Workers of the function this trigger runs.", ["function"]
)
TRIGGER_BATCHES: Final = Counter(
    "pacsless_trigger_batches",
    "Batches sent to the function, by fate: done, refused, failed, down, busy.",
    ["function", "fate"],
)
TRIGGER_EVENTS: Final = Counter(
    "pacsless_trigger_events", "Events handled, dead letters not counted.", ["function"]
)
TRIGGER_DEAD_LETTERS: Final = Counter(
    "pacsless_trigger_dead_letters",
    "Events given up, by topic and code.",
    ["function", "topic", "code"],
)


def answered(function: str, route: str, status: int, seconds: float) -> None:
    """Count a request that an HTTP function has begun to answer.

    Parameters
    ----------
    function, route
        Who answered, and as what; the route is empty if there was none.
    status
        Of the answer.
    seconds
        How long it took until then.
    """
    _requests(function, route, str(status)).inc()
    _request_seconds(function, route).observe(seconds)


def page() -> bytes:
    """Metrics of this process, or of all workers if PROMETHEUS_MULTIPROC_DIR is set."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)

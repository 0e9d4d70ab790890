"""Metrics of the parts, read off their pages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import start_http_server

from pacsless import metrics
from pacsless.errors import Unavailable
from pacsless.stack.scrape import scaled_workers, scrape
from pacsless.stack.settings import Ports


def test_workers_are_those_the_trigger_tells() -> None:
    server, thread = start_http_server(0, "127.0.0.1")
    try:
        port = server.server_port
        ports = replace(Ports(), triggers={"transcode": port})
        metrics.TRIGGER_WORKERS.labels("transcode").set(3)
        assert scaled_workers("transcode", ports) == 3
        with pytest.raises(Unavailable, match="does not tell pacsless_nothing"):
            scrape(f"http://127.0.0.1:{port}/metrics", "pacsless_nothing")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        metrics.TRIGGER_WORKERS.remove("transcode")
    with pytest.raises(Unavailable, match="transcode-trigger does not tell its workers"):
        scaled_workers("transcode", ports)

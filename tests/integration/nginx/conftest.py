"""The nginx template, substituted and run by a real nginx before stand-in functions."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer

import pytest

from tests.nginx import FUNCTIONS, Front, StandIn, run, write_files
from tests.services import require


@pytest.fixture(scope="module")
def functions() -> Iterator[dict[str, str]]:
    servers = []
    for name in FUNCTIONS:
        handler = type(name, (StandIn,), {"name": name})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    yield {
        name.upper(): f"127.0.0.1:{server.server_address[1]}"
        for name, server in zip(FUNCTIONS, servers, strict=True)
    }
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[dict[str, str]], Front]]:
    require("nginx")
    running: list[subprocess.Popen[bytes]] = []

    def start_one(functions: dict[str, str]) -> Front:
        folder = tmp_path_factory.mktemp("nginx")
        write_files(folder)
        process, front = run(folder, functions)
        running.append(process)
        return front

    yield start_one
    for process in running:
        process.terminate()
    for process in running:
        process.wait(20)


@pytest.fixture(scope="module")
def front(functions: dict[str, str], start: Callable[[dict[str, str]], Front]) -> Front:
    return start(functions)

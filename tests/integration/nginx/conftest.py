"""The nginx template, substituted and run by a real nginx before stand-in functions."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer

import pytest
import urllib3

from pacsless.stack.configuration import CAPABILITIES, NGINX_TEMPLATE, substitute
from tests.eventually import eventually
from tests.nginx import FUNCTIONS, Front, StandIn, write_files
from tests.ports import free_ports
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

    def run(functions: dict[str, str]) -> Front:
        # Workers of a root master run as root here, so pytest's private folders are readable.
        folder = tmp_path_factory.mktemp("nginx")
        write_files(folder)
        state, port = folder / "state", free_ports(1)[0]
        state.mkdir()
        configuration = folder / "nginx.conf"
        configuration.write_text(
            substitute(
                NGINX_TEMPLATE.read_text(),
                {
                    "LISTEN": f"127.0.0.1:{port}",
                    "NGINX_USER": "root",
                    "STATE_DIR": str(state),
                    "ERROR_LOG": str(folder / "error.log"),
                    "ACCESS_LOG": str(folder / "access.log"),
                    "ARCHIVE_ROOT": str(folder / "archive"),
                    "VIEWER_ROOT": str(folder / "viewer"),
                    "CAPABILITIES": str(CAPABILITIES),
                    "DEFAULT_TENANT": "main",
                    **functions,
                },
            )
        )
        command = ["nginx", "-e", "stderr", "-p", str(state), "-c", str(configuration)]
        checked = subprocess.run(
            [*command, "-t"], capture_output=True, text=True, timeout=30, check=False
        )
        assert checked.returncode == 0, checked.stderr
        unexpected = [line for line in checked.stderr.splitlines() if "[warn]" in line]
        assert not [line for line in unexpected if "super-user" not in line], checked.stderr
        running.append(subprocess.Popen(command))
        front = Front(f"http://127.0.0.1:{port}", port, folder / "access.log", folder / "error.log")

        def up() -> bool:
            try:
                return front.get("/healthz").data == b"ok\n"
            except urllib3.exceptions.HTTPError:
                return False

        eventually(up)
        return front

    yield run
    for process in running:
        process.terminate()
    for process in running:
        process.wait(20)


@pytest.fixture(scope="module")
def front(functions: dict[str, str], start: Callable[[dict[str, str]], Front]) -> Front:
    return start(functions)

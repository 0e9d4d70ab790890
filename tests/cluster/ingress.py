"""What stands for Knative's ingress: ``python -m tests.cluster.ingress``.

It says of each KIngress that it is ready, and sends what comes in for its hosts to the
Service behind it. No TLS, no splits by percent, no rewriting: what is asked is functions
by their names in the cluster, and a body that fits into memory.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from tests.cluster import layout

NAME: Final = "ingress.knative-serving.svc.cluster.local"
_KIND: Final = "ingresses.networking.internal.knative.dev"
_CONDITIONS: Final = ("LoadBalancerReady", "NetworkConfigured", "Ready")
_SECONDS: Final = 900.0
# Of one connection, and so not passed on (RFC 9110 §7.6.1); the length is set anew.
_OWN_HEADERS: Final = {
    "connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Where requests for a host go."""

    host: str
    port: int
    headers: dict[str, str]


class Routes:
    """Targets by host; thread-safe."""

    def __init__(self) -> None:
        self._by_ingress: dict[str, dict[str, Target]] = {}

    def target(self, host: str) -> Target | None:
        """Where a host's requests go, if anywhere."""
        name = host.partition(":")[0]
        for targets in tuple(self._by_ingress.values()):
            if found := targets.get(name):
                return found
        return None

    def changed(self, kind: str, ingress: dict[str, Any]) -> None:
        """Learn of an ingress: ``ADDED``, ``MODIFIED`` or ``DELETED``."""
        key = ingress["metadata"]["uid"]
        if kind == "DELETED":
            self._by_ingress.pop(key, None)
        else:
            self._by_ingress[key] = dict(_targets(ingress["spec"]))


def _targets(spec: dict[str, Any]) -> Iterator[tuple[str, Target]]:
    for rule in spec.get("rules", ()):
        path = rule["http"]["paths"][0]
        split = path["splits"][0]
        host = f"{split['serviceName']}.{split['serviceNamespace']}.svc.cluster.local"
        headers = path.get("appendHeaders", {}) | split.get("appendHeaders", {})
        port = split["servicePort"]
        target = Target(host, port if isinstance(port, int) else 80, headers)
        for one in rule["hosts"]:
            yield one, target


def watch(routes: Routes) -> None:
    """Follow the ingresses for as long as the API server lets us, and then anew."""
    command: list[str | Path] = [
        layout.BIN / "kubectl", f"--kubeconfig={layout.KUBECONFIG}", "get", _KIND,
        "--all-namespaces", "--watch", "--output-watch-events", "--output=json",
    ]  # fmt: skip
    while True:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as kubectl:
            assert kubectl.stdout
            for line in kubectl.stdout:
                event = json.loads(line)
                routes.changed(event["type"], event["object"])
                if event["type"] != "DELETED":
                    _set_ready(event["object"])
        # It lists all when it begins.
        time.sleep(1)


def _set_ready(ingress: dict[str, Any]) -> None:
    metadata = ingress["metadata"]
    if ingress.get("status", {}).get("observedGeneration") == metadata["generation"]:
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    balancer = {"ingress": [{"domainInternal": NAME}]}
    status = {
        "observedGeneration": metadata["generation"],
        "conditions": [
            {"type": one, "status": "True", "lastTransitionTime": now} for one in _CONDITIONS
        ],
        "publicLoadBalancer": balancer,
        "privateLoadBalancer": balancer,
    }
    # It may be gone by now.
    subprocess.run(
        [layout.BIN / "kubectl", f"--kubeconfig={layout.KUBECONFIG}", "patch", _KIND,
         metadata["name"], f"--namespace={metadata['namespace']}", "--subresource=status",
         "--type=merge", f"--patch={json.dumps({'status': status})}"],
        stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """Passes a request on."""

    protocol_version = "HTTP/1.1"
    routes: Routes

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = self.routes.target(self.headers.get("Host", ""))
        if target is None:
            # Of the bed's own health, too: nobody's host.
            self._answer(404, [], b"")
            return
        headers = {key: value for key, value in self.headers.items() if _goes_on(key)}
        connection = http.client.HTTPConnection(target.host, target.port, timeout=_SECONDS)
        try:
            connection.request(self.command, self.path, body, headers | target.headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            print(f"{self.command} {target.host}: {error!r}", file=sys.stderr, flush=True)
            self._answer(503, [], b"")
        else:
            self._answer(answer.status, answer.getheaders(), content)
        finally:
            connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _pass

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for key, value in headers:
            if _goes_on(key):
                self.send_header(key, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing of requests."""


def _goes_on(header: str) -> bool:
    return header.lower() not in _OWN_HEADERS


class Server(ThreadingHTTPServer):
    """Takes as many connections as come at once."""

    request_queue_size = 256
    daemon_threads = True


def main() -> None:
    """Serve until ended."""
    Handler.routes = Routes()
    threading.Thread(target=watch, args=(Handler.routes,), daemon=True).start()
    Server((layout.NODE_ADDRESS, layout.INGRESS_PORT), Handler).serve_forever()


if __name__ == "__main__":
    main()

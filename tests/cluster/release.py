"""The chart, installed."""

from __future__ import annotations

import json
import os
import socket
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.kubectl import Cluster, run

CHART: Final = Path(__file__).parents[2] / "charts" / "pacsless"
NAME: Final = "pacsless"
_REACHABLE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Release:
    """A release of the chart in a namespace."""

    cluster: Cluster

    def helm(self, *arguments: str | Path) -> str:
        return run("helm", f"--namespace={self.cluster.namespace}", *arguments)

    def install(self, *values: str, timeout: str = "5m") -> None:
        self._release("install", values, timeout)

    def upgrade(self, *values: str, timeout: str = "5m") -> None:
        self._release("upgrade", values, timeout)

    def _release(self, verb: str, values: Sequence[str], timeout: str) -> None:
        given = [f"--set={one}" for one in ("profile=local", *self._images(), *values)]
        self.helm(verb, NAME, CHART, *given, "--wait", f"--timeout={timeout}")

    @staticmethod
    def _images() -> Sequence[str]:
        registry = os.environ.get("PACSLESS_TEST_REGISTRY")
        return (f"image.registry={registry}",) if registry else ()

    def service(self, name: str, port: str) -> tuple[str, int]:
        """Address of a Service's port."""
        spec = self.cluster.get("service", f"{NAME}-{name}")["spec"]
        number = next(one["port"] for one in spec["ports"] if one["name"] == port)
        return str(spec["clusterIP"]), int(number)

    def require_reachable(self) -> None:
        """Skip the test if Services cannot be reached from here."""
        for address in (self.dicom, self.service("nginx", "http")):
            try:
                socket.create_connection(address, _REACHABLE_SECONDS).close()
            except OSError:
                pytest.skip(
                    "Services cannot be reached from here: run this in the cluster's network"
                )

    @property
    def dicom(self) -> tuple[str, int]:
        return self.service("gateway", "dicom")

    @property
    def dicomweb(self) -> str:
        host, port = self.service("nginx", "http")
        return f"http://{host}:{port}/dicom-web"

    def read(self, path: str, accept: str = "application/dicom+json") -> bytes:
        request = urllib.request.Request(f"{self.dicomweb}{path}", headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content: bytes = answer.read()
        except OSError as error:
            # Not yet, to whoever waits for it: a pod that has just begun, or has just ended.
            raise AssertionError(f"GET {path}: {error}") from None
        return content

    def search(self, path: str) -> list[dict[str, Any]]:
        # 204 and so nothing at all if nothing matches (PS3.18 §10.6.3).
        found: list[dict[str, Any]] = json.loads(self.read(path) or b"[]")
        return found

    def pods(self, component: str) -> list[str]:
        """Names of the pods of a component that are not on their way out."""
        return [one["name"] for one in self._pods(component)]

    def uids(self, component: str) -> set[str]:
        """The same, as no two pods have them: those of a StatefulSet keep their names."""
        return {one["uid"] for one in self._pods(component)}

    def _pods(self, component: str) -> list[dict[str, Any]]:
        selector = f"app.kubernetes.io/component={component}"
        found = json.loads(self.cluster.kubectl("get", "pods", f"--selector={selector}", "-ojson"))
        every = [one["metadata"] for one in found["items"]]
        return [one for one in every if "deletionTimestamp" not in one]

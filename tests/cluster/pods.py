"""Pods of what scales: how many there are, and since when."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tests.cluster.kubectl import Cluster, Refused
from tests.eventually import eventually

_LOOKS: Final = 0.2


@dataclass
class Watched:
    """What has been seen of them."""

    most: Counter[str] = field(default_factory=Counter)
    """Pods at a time at most, by the label's value."""
    ready: dict[str, float] = field(default_factory=dict)
    """When one was first ready, by the same, as time.monotonic() tells."""


@dataclass(frozen=True)
class Pods:
    """Those whose label has one of some values."""

    cluster: Cluster
    label: str
    values: frozenset[str]

    def now(self) -> Counter[str]:
        """How many there are, but for those on their way out."""
        return Counter(value for value, _ in self._all())

    def come_to_rest(self, within: float = 180) -> None:
        """Wait until there is none."""

        def none() -> bool:
            left = self.now()
            assert not left, left
            return True

        eventually(none, within)

    @contextmanager
    def watched(self) -> Iterator[Watched]:
        """Look at them while something is done."""
        seen, stop = Watched(), threading.Event()

        def look() -> None:
            while not stop.wait(_LOOKS):
                try:
                    pods = list(self._all())
                except Refused:
                    continue  # the API server has much to do
                seen.most |= Counter(value for value, _ in pods)
                for value, status in pods:
                    if _is_ready(status):
                        seen.ready.setdefault(value, time.monotonic())

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield seen
        finally:
            stop.set()
            looking.join()

    def _all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        selector = f"{self.label} in ({','.join(sorted(self.values))})"
        told = self.cluster.kubectl("get", "pods", f"--selector={selector}", "--output=json")
        for one in json.loads(told)["items"]:
            if "deletionTimestamp" not in one["metadata"] and one["status"]["phase"] != "Failed":
                yield one["metadata"]["labels"][self.label], one["status"]


def _is_ready(status: dict[str, Any]) -> bool:
    conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return conditions.get("Ready") == "True"

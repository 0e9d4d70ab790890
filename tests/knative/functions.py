"""The functions as Knative has them: how many pods, and since when."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.cluster.kubectl import Cluster, Refused
from tests.eventually import eventually

_LABEL: Final = "serving.knative.dev/service"
_LOOKS: Final = 0.3


def pods(cluster: Cluster) -> Counter[str]:
    """Pods of each Service, but for those on their way out; a Service without any is in it, too."""
    services = cluster.kubectl("get", "ksvc", "--output=name").split()
    found = Counter(dict.fromkeys((one.rpartition("/")[2] for one in services), 0))
    for one in _all(cluster):
        found[one] += 1
    return found


def _all(cluster: Cluster) -> Iterator[str]:
    told = json.loads(cluster.kubectl("get", "pods", f"--selector={_LABEL}", "--output=json"))
    for one in told["items"]:
        if "deletionTimestamp" not in one["metadata"] and one["status"]["phase"] != "Failed":
            yield one["metadata"]["labels"][_LABEL]


def come_to_rest(cluster: Cluster, within: float = 180) -> None:
    """Wait until no function has a pod."""

    def none() -> bool:
        assert not +pods(cluster), pods(cluster)
        return True

    eventually(none, within)


@contextmanager
def peaks(cluster: Cluster) -> Iterator[Counter[str]]:
    """The most pods of each Service at a time while something is done."""
    most: Counter[str] = Counter()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(_LOOKS):
            try:
                now = Counter(_all(cluster))
            except Refused:
                continue
            for one, count in now.items():
                most[one] = max(most[one], count)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield most
    finally:
        stop.set()
        looking.join()

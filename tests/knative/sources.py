"""KafkaSources of a release, delivered by our double of their dispatcher in a pod."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

from tests.cluster.kubectl import Cluster, Manifest
from tests.eventually import eventually

NAME: Final = "kafka-source-dispatcher"
_HERE: Final = Path(__file__).parent
_PROGRAMS: Final = ("dispatcher.py", "rules.py")
_FOLDER: Final = "/opt/dispatcher"
_CONTAINER: Final = {
    "name": "dispatcher",
    "imagePullPolicy": "IfNotPresent",
    "command": ["python3.11", "-u", "-m", "tests.knative.dispatcher"],
    "args": [f"{_FOLDER}/sources.json"],
    "workingDir": _FOLDER,
    "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
    "volumeMounts": [
        {"name": "programs", "mountPath": f"{_FOLDER}/tests/knative"},
        {"name": "sources", "mountPath": f"{_FOLDER}/sources.json", "subPath": "sources.json"},
        {"name": "tmp", "mountPath": "/tmp"},
    ],
}


class Dispatcher:
    """It, and what it has said so far.

    Parameters
    ----------
    cluster
        Where the sources are.
    image
        One that has a client of Kafka.
    """

    def __init__(self, cluster: Cluster, image: str) -> None:
        self._cluster, self._image = cluster, image
        self._before: Counter[str] = Counter()

    def start(self, **more: Any) -> None:
        """Deliver the events of all sources that there are now; `more` as `dispatcher` takes it."""
        services = self._cluster.get("ksvc")["items"]
        told = {
            "sources": self._cluster.get("kafkasources")["items"],
            "sinks": self._cluster.get("kafkasinks")["items"],
            "addresses": {
                one["metadata"]["name"]: one["status"]["address"]["url"] for one in services
            },
        }
        programs = {name: (_HERE / name).read_text() for name in _PROGRAMS}
        self._cluster.apply(
            _config_map(f"{NAME}-programs", programs),
            _config_map(NAME, {"sources.json": json.dumps(told | more)}),
            self._deployment(),
        )
        self._wait()

    def _wait(self) -> None:
        self._cluster.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=120s")

    def stop(self) -> None:
        """End it, so that whoever comes next gets what it has not committed."""
        self._before += self._now()
        self._cluster.kubectl("delete", f"deployment/{NAME}", "--cascade=foreground")

    def crash(self) -> None:
        """Kill it without a commit, and wait for the next."""
        self._before += self._now()
        self._cluster.kubectl("delete", "pod", self._pod(), "--force", "--grace-period=0")
        self._wait()

    def counts(self) -> Counter[str]:
        """What has become of events, over all of its lives: by ``<source> <what>``."""
        return self._before + self._now()

    def count(self, what: str) -> int:
        """Likewise, of all sources."""
        return sum(count for key, count in self.counts().items() if key.endswith(f" {what}"))

    def _now(self) -> Counter[str]:
        lines = self._cluster.kubectl("logs", self._pod(), "--tail=20").splitlines()
        found = [json.loads(one) for one in lines if one.startswith("{")]
        return Counter(found[-1] if found else {})

    def _pod(self) -> str:
        def one() -> str:
            told = self._cluster.kubectl("get", "pods", f"--selector=app={NAME}", "--output=json")
            names = [
                str(one["metadata"]["name"])
                for one in json.loads(told)["items"]
                if one["status"]["phase"] == "Running"
                and "deletionTimestamp" not in one["metadata"]
            ]
            assert len(names) == 1, names
            return names[0]

        return eventually(one)

    def _deployment(self) -> Manifest:
        labels = {"app": NAME}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "enableServiceLinks": False,
                        "automountServiceAccountToken": False,
                        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001},
                        "containers": [_CONTAINER | {"image": self._image}],
                        "volumes": [
                            {"name": "programs", "configMap": {"name": f"{NAME}-programs"}},
                            {"name": "sources", "configMap": {"name": NAME}},
                            {"name": "tmp", "emptyDir": {}},
                        ],
                    },
                },
            },
        }


def _config_map(name: str, data: dict[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}

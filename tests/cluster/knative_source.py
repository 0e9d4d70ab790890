"""What is installed of Knative: Serving as it is released, and the definitions of three sources.

Serving's manifests name images that are made here, an ingress that is the bed's, and
shorter waits. Of Eventing only the definitions of what the chart renders are taken, from
the operator, which carries those of every release: nothing of it runs here (README.md).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.errors import ClusterError

Manifest = dict[str, Any]

VERSION: Final = "0.42.2"
PROGRAMS: Final = ("activator", "autoscaler", "controller", "queue", "webhook")
MODULES: Final = ("knative.dev/serving", "knative.dev/networking", "knative.dev/caching")
INGRESS_CLASS: Final = "pacsless.ingress.networking.knative.dev"

_FOLDERS: Final = {
    "knative.dev/serving": (
        "config/core", "config/core/200-roles", "config/core/300-resources",
        "config/core/configmaps", "config/core/deployments", "config/core/webhooks",
    ),
    "knative.dev/networking": ("config",),
    "knative.dev/caching": ("config",),
}  # fmt: skip
# What a test bed needs otherwise. Claims are behind flags, which docs/install.md names; the
# times are 30 s, 60 s and 30 s by default: for clusters, not for tests.
_SETTINGS: Final = {
    "config-deployment": {"queue-sidecar-image": ""},
    "config-network": {"ingress-class": INGRESS_CLASS},
    "config-autoscaler": {
        "scale-to-zero-grace-period": "10s",
        "stable-window": "10s",
        "scale-to-zero-pod-retention-period": "0s",
    },
    "config-features": {
        "kubernetes.podspec-persistent-volume-claim": "enabled",
        "kubernetes.podspec-persistent-volume-write": "enabled",
    },
}
_BUILT_BY_KO: Final = "ko://knative.dev/serving/cmd/"
_KINDS_LEFT_OUT: Final = {
    # No metrics-server, one node.
    "HorizontalPodAutoscaler", "PodDisruptionBudget",
    # They would have the node fetch what is on it, and somebody sign what nobody asks for.
    "Image", "Certificate",
}  # fmt: skip
_OPERATOR_FILES: Final = (
    "cmd/operator/kodata/eventing-source/1.15/kafka/eventing-kafka-controller.yaml",
    "cmd/operator/kodata/knative-eventing/1.15.0/1-eventing-crds.yaml",
)
_SOURCES: Final = {
    "kafkasources.sources.knative.dev",
    "kafkasinks.eventing.knative.dev",
    "pingsources.sources.knative.dev",
}


def image(program: str) -> str:
    """Name of a program's image."""
    return f"localhost/knative-{program}:{VERSION}"


def write_manifests(modules: Sequence[Path], operator: Path, target: Path) -> None:
    """Write what is to be applied: definitions first.

    Parameters
    ----------
    modules
        Folders of `MODULES`.
    operator
        Folder of knative.dev/operator.
    target
        Folder to write ``definitions.yaml`` and ``serving.yaml`` to, and the licence beside them.
    """
    found = list(serving(_documents(_files(dict(zip(MODULES, modules, strict=True))))))
    definitions = [one for one in found if _is_definition(one)]
    definitions += sources(_documents(operator / one for one in _OPERATOR_FILES))
    others = [one for one in found if not _is_definition(one)]
    # A namespace comes before what is in it.
    others.sort(key=lambda one: one["kind"] != "Namespace")
    _write(target / "definitions.yaml", definitions)
    _write(target / "serving.yaml", others)
    (target / "LICENSE").write_bytes((operator / "LICENSE").read_bytes())


def serving(documents: Iterable[Manifest]) -> Iterator[Manifest]:
    """Knative Serving's manifests as they are applied here.

    Raises
    ------
    ClusterError
        If one that is to be changed is not there.
    """
    missing = set(_SETTINGS)
    for one in documents:
        kind, name = one["kind"], one["metadata"]["name"]
        if kind in _KINDS_LEFT_OUT:
            continue
        if kind == "ConfigMap" and name in _SETTINGS:
            missing.remove(name)
            settings: dict[str, str] = _SETTINGS[name]
            if name == "config-deployment":
                settings = {"queue-sidecar-image": image("queue")}
            one["data"] = one.get("data", {}) | settings
        if kind == "Deployment":
            for container in one["spec"]["template"]["spec"]["containers"]:
                program = container["image"].removeprefix(_BUILT_BY_KO)
                container["image"] = image(program)
        yield one
    if missing:
        raise ClusterError("knative", f"Serving has no {', '.join(sorted(missing))}")


def sources(documents: Iterable[Manifest]) -> list[Manifest]:
    """Take the definitions of sources and sinks that the chart renders.

    Raises
    ------
    ClusterError
        If one is not there.
    """
    found = [
        _without_conversion(one)
        for one in documents
        if _is_definition(one) and one["metadata"]["name"] in _SOURCES
    ]
    if missing := _SOURCES - {one["metadata"]["name"] for one in found}:
        raise ClusterError("knative", f"no definition of {', '.join(sorted(missing))}")
    for one in found:
        if one["metadata"]["name"].startswith("kafkasources."):
            _add_v1(one)
    return found


def _add_v1(definition: Manifest) -> None:
    """Serve a KafkaSource as v1, too, as Knative does from 1.16 on: it is v1beta1 by a new name."""
    versions = definition["spec"]["versions"]
    if [one["name"] for one in versions] != ["v1beta1"]:
        raise ClusterError("knative", "KafkaSource has other versions than v1beta1")
    new = copy.deepcopy(versions[0]) | {"name": "v1", "storage": False}
    versions.append(new)


def _without_conversion(definition: Manifest) -> Manifest:
    # Its webhook does not run here.
    definition["spec"].pop("conversion", None)
    return definition


def _is_definition(one: Manifest) -> bool:
    return bool(one["kind"] == "CustomResourceDefinition")


def _files(modules: dict[str, Path]) -> Iterator[Path]:
    for name, folder in modules.items():
        for part in _FOLDERS[name]:
            yield from sorted((folder / part).glob("*.yaml"))


def _documents(files: Iterable[Path]) -> Iterator[Manifest]:
    for file in files:
        yield from filter(None, yaml.safe_load_all(file.read_text()))


def _write(file: Path, documents: Sequence[Manifest]) -> None:
    # JSON is YAML.
    file.write_text("\n---\n".join(json.dumps(one) for one in documents))

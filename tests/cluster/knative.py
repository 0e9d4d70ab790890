"""Knative Serving: pods of its own, and an ingress beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from pacsless.stack.configuration import substitute
from tests.cluster import knative_source, layout
from tests.cluster.control_plane import apply, http_status, kubectl
from tests.cluster.node import load_image
from tests.cluster.progress import step
from tests.cluster.running import Programs

# Only looked at: the webhooks say yes, or they do not run yet.
_PROBE: Final = {
    "apiVersion": "serving.knative.dev/v1",
    "kind": "Service",
    "metadata": {"name": "probe", "namespace": "default"},
    "spec": {"template": {"spec": {"containers": [{"image": layout.BUSYBOX}]}}},
}


def start(programs: Programs) -> None:
    """Start Knative Serving, and return when it takes a Service."""
    with step("images of Knative Serving"):
        for program in knative_source.PROGRAMS:
            load_image(archive(program))
    with step(f"Knative Serving {knative_source.VERSION}: its pods, and an ingress"):
        apply((layout.KNATIVE / "definitions.yaml").read_text())
        kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        apply((layout.KNATIVE / "serving.yaml").read_text())
        values = {"INGRESS_PORT": str(layout.INGRESS_PORT), "NODE_ADDRESS": layout.NODE_ADDRESS}
        apply(substitute((layout.FILES / "knative-ingress.yaml").read_text(), values))
        programs.start(
            "knative-ingress",
            [sys.executable, "-m", "tests.cluster.ingress"],
            ready=_takes_a_service,
            port=layout.INGRESS_PORT,
        )
        programs.wait("knative-ingress", 240)


def archive(program: str) -> Path:
    """Image of one of its programs."""
    return layout.KNATIVE / f"{program}.tar"


def _takes_a_service() -> bool:
    # Nobody's host.
    if http_status(f"http://{layout.NODE_ADDRESS}:{layout.INGRESS_PORT}/") != 404:
        return False
    namespace = "--namespace=knative-serving"
    deployments = json.loads(kubectl("get", "deployments", namespace, "--output=json"))["items"]
    if not all(one.get("status", {}).get("availableReplicas") for one in deployments):
        return False
    told = kubectl(
        "create", "--dry-run=server", "--output=json", "-f", "-", given=json.dumps(_PROBE)
    )
    # Set by the webhook that fills in defaults.
    return "containerConcurrency" in json.loads(told)["spec"]["template"]["spec"]

"""kubectl and helm on whatever cluster KUBECONFIG names, in a namespace of one's own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually

Manifest = dict[str, Any]


class Refused(AssertionError):
    """A program failed; the text is what it said."""


def run(*command: str | Path, given: str | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Cluster:
    namespace: str

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return run("kubectl", f"--namespace={self.namespace}", *arguments, given=given)

    def apply(self, *manifests: Manifest, server_only: bool = False) -> None:
        # Not a List: what is in one is compared with the schema by kubectl, not the server.
        content = "\n---\n".join(json.dumps(one) for one in manifests)
        dry = ["--dry-run=server"] if server_only else []
        self.kubectl("apply", "--validate=strict", *dry, "--filename=-", given=content)

    def get(self, kind: str, name: str = "") -> Any:
        return json.loads(self.kubectl("get", kind, *filter(None, [name]), "--output=json"))

    def require_node(self) -> None:
        """Skip the test if no pod can run."""
        if not self.get("nodes")["items"]:
            pytest.skip("the cluster has no node: level 3 has one")

    def has_kind(self, resource: str) -> bool:
        return resource in self.kubectl("api-resources", "--output=name").split()

    def wait_for_phase(self, kind: str, name: str, phase: str) -> None:
        self.kubectl(
            "wait", f"{kind}/{name}", f"--for=jsonpath={{.status.phase}}={phase}", "--timeout=90s"
        )


@contextmanager
def own_namespace(prefix: str, *, node: bool = False) -> Iterator[Cluster]:
    """A namespace of the cluster that KUBECONFIG names; without one, the test is skipped.

    Parameters
    ----------
    prefix
        Its name begins so.
    node
        Whether pods are to run in it; where none can, the test is skipped.
    """
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: make cluster-up, and run this by in-cluster")
    if shutil.which("kubectl") is None:
        pytest.skip("not installed: kubectl")
    one = Cluster(f"{prefix}-{secrets.token_hex(4)}")
    one.kubectl("create", "namespace", one.namespace)
    # Level 2 has nobody who makes it later than at once.
    eventually(lambda: one.get("serviceaccount", "default"))
    try:
        if node:
            one.require_node()
        yield one
    finally:
        # The namespace would wait for half of the longest time that one of its pods may take.
        workloads = "deployments,replicasets,statefulsets,jobs,cronjobs"
        one.kubectl("delete", workloads, "--all", "--cascade=orphan")
        one.kubectl("delete", "pods", "--all", "--grace-period=0", "--force")
        one.kubectl("delete", "namespace", one.namespace, "--timeout=300s")

"""docs/operations-kubernetes.md and docs/install.md name what the chart renders."""

from __future__ import annotations

import re
from typing import Final

import pytest
import yaml

from tests.chart.cases import values
from tests.chart.helm import CHART, Manifest, helm
from tests.chart.test_render import rendered

DOCS: Final = CHART.parents[1] / "docs"
RUNBOOK: Final = (DOCS / "operations-kubernetes.md").read_text()
KINDS: Final = {
    "cronjob": "CronJob",
    "deployment": "Deployment",
    "pvc": "PersistentVolumeClaim",
    "scaledobject": "ScaledObject",
    "secret": "Secret",
    "service": "Service",
    "statefulset": "StatefulSet",
}


def there() -> set[tuple[str, str]]:
    """Objects of the chart's own stores, and claims and pods of their StatefulSets."""
    found = set[tuple[str, str]]()
    for one in rendered("local", "keda"):
        name = one["metadata"]["name"]
        found.add((one["kind"], name))
        if one["kind"] == "StatefulSet":
            # Of the gateway there may be two.
            for number in range(2):
                found.add(("Pod", f"{name}-{number}"))
                for claim in one["spec"].get("volumeClaimTemplates", []):
                    full = f"{claim['metadata']['name']}-{name}-{number}"
                    found.add(("PersistentVolumeClaim", full))
    return found


def test_objects_of_the_runbook_are_rendered() -> None:
    named = {
        (KINDS[kind], name)
        for kind, name in re.findall(
            rf"\b({'|'.join(KINDS)})[ /]((?:[a-z]+-)?pacsless-[a-z0-9-]+)", RUNBOOK
        )
    }
    named |= {("Pod", name) for name in re.findall(r"\bpod/(pacsless-[a-z0-9-]+)", RUNBOOK)}
    named |= {("Pod", name) for name in re.findall(r"exec (?:-i )?(pacsless-[a-z0-9-]+)", RUNBOOK)}
    assert len(named) > 12
    assert named - {("Secret", "pacsless-postgres-app")} <= there()


def test_containers_of_the_runbook_are_rendered() -> None:
    containers = {
        container["name"]
        for one in rendered("local", "keda")
        if one["kind"] in ("Deployment", "StatefulSet", "Job")
        for pod in [one["spec"]["template"]["spec"]]
        for container in [*pod.get("initContainers", []), *pod["containers"]]
    }
    named = set(re.findall(r"kubectl [^\n]* -c ([a-z-]+)", RUNBOOK))
    assert {"scp-gateway", "access-log"} <= named
    assert named <= containers


def test_what_is_kept_is_what_the_runbook_says() -> None:
    def kept(manifests: list[Manifest]) -> set[str]:
        return {
            one["kind"]
            for one in manifests
            if one["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
        }

    doris = {"source": "doris-operator", "existingSecret": "x", "operator": {"version": "4.0.7"}}
    operators = values(
        "local", kafka={"source": "strimzi"}, postgres={"source": "cloudnativepg"}, doris=doris
    )
    assert kept(rendered("local", "keda")) == {"PersistentVolumeClaim", "Secret"}
    assert kept(helm(4).template(operators)) == {
        "PersistentVolumeClaim", "Secret", "Kafka", "KafkaNodePool", "Cluster", "DorisCluster",
    }  # fmt: skip


def test_values_in_blocks_are_taken() -> None:
    blocks = re.findall(
        r"^```yaml\n(.*?)^```", (DOCS / "install.md").read_text(), re.MULTILINE | re.DOTALL
    )
    for text in blocks:
        found = yaml.safe_load(text)
        if "kind" not in found:
            assert helm(4).template({"profile": "hospital", **found})


@pytest.mark.parametrize("profile", ["local", "hospital", "production"])
def test_the_sizing_guide_adds_up_what_is_requested(profile: str) -> None:
    def cores(text: str) -> float:
        return float(text[:-1]) / 1000 if text.endswith("m") else float(text)

    def mebibytes(text: str) -> float:
        return float(text[:-2]) * {"Mi": 1, "Gi": 1024}[text[-2:]]

    processor = memory = pods = 0.0
    for one in rendered(profile, "keda"):
        if one["kind"] in ("Deployment", "StatefulSet"):
            copies = one["spec"].get("replicas", 1)  # KEDA's: one of each
            pods += copies
            spec = one["spec"]["template"]["spec"]
            for container in [*spec.get("initContainers", []), *spec["containers"]]:
                wanted = container["resources"]["requests"]
                processor += copies * cores(str(wanted["cpu"]))
                memory += copies * mebibytes(wanted["memory"])
    row = f"| {profile} | {processor:.2f} | {memory / 1024:.1f} GiB | {pods:.0f} |"
    assert row in (DOCS / "sizing.md").read_text()

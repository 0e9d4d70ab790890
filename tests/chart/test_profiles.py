"""What a profile amounts to, told in a few lines that a reviewer reads.

``PACSLESS_GOLDEN=write`` writes the files anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chart.cases import PROFILES, values
from tests.chart.helm import Manifest, helm

GOLDEN = Path(__file__).parent / "golden"


def told(manifest: Manifest) -> str:
    """Kind, name and what matters of an object."""
    spec = manifest.get("spec", {})
    name = manifest["metadata"]["name"]
    if manifest["kind"] == "Job" and not name.endswith("-done"):
        name = name.rpartition("-")[0]  # a hash follows
    facts: list[str] = []
    if "replicas" in spec:
        facts.append(f"replicas={spec['replicas']}")
    if "template" in spec and manifest["kind"] != "Service":
        pod = spec["template"]["spec"]
        facts.append(f"grace={pod.get('terminationGracePeriodSeconds', '-')}")
        facts += [
            f"{one['name']}={one['resources']['limits']['memory']}" for one in pod["containers"]
        ]
    if manifest["kind"] == "ScaledObject":
        facts.append(f"{spec['minReplicaCount']}..{spec['maxReplicaCount']}")
        facts += [
            f"{one['metadata']['topic']}/{one['metadata']['lagThreshold']}"
            for one in spec["triggers"]
        ]
    if manifest["kind"] == "Service" and "ports" in spec:
        facts.append(spec.get("type", "ClusterIP"))
        facts += [str(one["port"]) for one in spec["ports"]]
    if manifest["kind"] == "PersistentVolumeClaim":
        facts += [*spec["accessModes"], spec["resources"]["requests"]["storage"]]
    for hook in filter(None, [manifest["metadata"].get("annotations", {}).get("helm.sh/hook")]):
        facts.append(f"hook={hook}")
    if manifest["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep":
        facts.append("kept")
    return " ".join([manifest["kind"], name, *facts])


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_is_what_it_was(profile: str) -> None:
    manifests = helm(4).template(values(profile, keda={"enabled": True}))
    found = "\n".join(sorted(told(one) for one in manifests)) + "\n"
    file = GOLDEN / f"{profile}.txt"
    if os.environ.get("PACSLESS_GOLDEN") == "write":
        file.write_text(found)
    assert found == file.read_text(), "look at the difference; PACSLESS_GOLDEN=write takes it over"


def test_what_is_set_by_hand_comes_before_a_profile_even_if_it_is_false() -> None:
    manifests = helm(4).template(
        values("hospital", networkPolicy={"enabled": False}, gateway={"processes": 0})
    )
    assert not [one for one in manifests if one["kind"] == "NetworkPolicy"]
    gateway = next(one for one in manifests if one["kind"] == "StatefulSet")
    variables = {
        one["name"]: one.get("value")
        for each in manifests
        if each["metadata"]["name"] == "pacsless-gateway" and each["kind"] == "StatefulSet"
        for one in each["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert gateway and variables["PACSLESS_GATEWAY_PROCESSES"] == "0"


def test_without_keda_the_number_of_pods_is_fixed() -> None:
    for wanted in (False, "auto"):
        chosen = {"transcode": {"replicas": 0}}
        given = values("local", keda={"enabled": wanted}, functions=chosen)
        manifests = helm(4).template(given)
        assert not [one for one in manifests if one["kind"] == "ScaledObject"]
        pods = {
            one["metadata"]["name"]: one["spec"]["replicas"]
            for one in manifests
            if one["kind"] == "Deployment"
        }
        assert (pods["pacsless-extract-tags"], pods["pacsless-transcode"]) == (1, 0)


def test_auto_finds_keda() -> None:
    manifests = helm(4).template(values("local"), "--api-versions=keda.sh/v1alpha1/ScaledObject")
    assert [one for one in manifests if one["kind"] == "ScaledObject"]

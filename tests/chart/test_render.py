"""Every profile in every mode: Helm takes it, Kubernetes would, and pods are restricted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tests.chart.cases import MODES, PROFILES, values
from tests.chart.helm import Manifest, helm, kinds

MATRIX = [(profile, mode) for profile in PROFILES for mode in MODES]
OTHERS = {
    "keda": {"ScaledObject"},
    "knative": {"Service", "KafkaSource", "KafkaSink", "PingSource"},
    "openfaas": {"Function"},
}
"""Kinds of a mode that are not Kubernetes' own."""


@cache
def rendered(profile: str, mode: str, major: int = 4) -> list[Manifest]:
    return helm(major).template(values(profile, mode, keda={"enabled": True}))


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod's spec, by what it is of."""
    for one in manifests:
        name = f"{one['kind']}/{one['metadata']['name']}"
        match one["kind"]:
            case "Pod":
                yield name, one["spec"]
            case "CronJob":
                yield name, one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            case "Deployment" | "StatefulSet" | "Job":
                yield name, one["spec"]["template"]["spec"]
            case "Service" if "knative" in one["apiVersion"]:
                yield name, one["spec"]["template"]["spec"]


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("major", [3, 4])
@pytest.mark.parametrize(("profile", "mode"), MATRIX)
def test_lint_has_nothing_to_say(profile: str, mode: str, major: int) -> None:
    helm(major).lint(values(profile, mode))


@pytest.mark.parametrize(("profile", "mode"), MATRIX)
def test_both_helms_render_the_same(profile: str, mode: str) -> None:
    def without_passwords(manifests: list[Manifest]) -> list[Manifest]:
        return [one for one in manifests if one["kind"] != "Secret"]

    third, fourth = (without_passwords(rendered(profile, mode, major)) for major in (3, 4))
    assert third == fourth


@pytest.mark.parametrize(("profile", "mode"), MATRIX)
def test_kubernetes_knows_every_field(profile: str, mode: str) -> None:
    unknown = set()
    for one in rendered(profile, mode):
        if kinds().knows(one):
            assert kinds().errors(one) == [], one["metadata"]["name"]
        else:
            unknown.add(one["kind"])
    monitors = {"PodMonitor"} if profile == "production" else set()
    assert unknown == OTHERS[mode] | monitors


def test_a_field_that_is_none_is_noticed() -> None:
    one = next(m for m in rendered("local", "keda") if m["kind"] == "Deployment")
    wrong = {**one, "spec": {**one["spec"], "replicaz": 2}}
    assert any("replicaz" in error for error in kinds().errors(wrong))


@pytest.mark.parametrize(("profile", "mode"), MATRIX)
def test_pods_keep_to_the_restricted_standard(profile: str, mode: str) -> None:
    for name, pod in pods(rendered(profile, mode)):
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, f"{name}: they look like settings"
        for one in containers(pod):
            security = {**pod.get("securityContext", {}), **one["securityContext"]}
            assert security["runAsNonRoot"] is True and security["runAsUser"] == 10001, name
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert "privileged" not in security
            assert "/tmp" in {mount["mountPath"] for mount in one["volumeMounts"]}, name
            assert set(one["resources"]) == {"requests", "limits"}, name
            assert "memory" in one["resources"]["limits"] and "cpu" in one["resources"]["requests"]
            assert one["imagePullPolicy"] == "IfNotPresent" and not one["image"].endswith(":latest")
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not any("hostPath" in volume for volume in pod["volumes"]), name


@pytest.mark.parametrize(("profile", "mode"), MATRIX)
def test_what_runs_for_good_has_probes_and_is_spread(profile: str, mode: str) -> None:
    for one in rendered(profile, mode):
        if one["kind"] not in ("Deployment", "StatefulSet"):
            continue
        spec = one["spec"]["template"]["spec"]
        assert spec["topologySpreadConstraints"][0]["labelSelector"] == one["spec"]["selector"]
        for container in spec["containers"]:
            assert {"readinessProbe", "livenessProbe"} <= set(container), one["metadata"]["name"]


@pytest.mark.parametrize(("profile", "mode"), MATRIX)
def test_no_password_is_anywhere_but_in_secrets(profile: str, mode: str) -> None:
    manifests = rendered(profile, mode)
    secret = [
        str(value)
        for one in manifests
        if one["kind"] == "Secret"
        for key, value in one["stringData"].items()
        if key != "url"
    ]
    assert len(secret) == len(set(secret)) and all(len(one) == 32 for one in secret)
    others = str([one for one in manifests if one["kind"] != "Secret"])
    assert not any(one in others for one in secret)


@pytest.mark.parametrize(("profile", "mode"), MATRIX)
def test_names_are_unique(profile: str, mode: str) -> None:
    named: list[Any] = [
        (one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in rendered(profile, mode)
    ]
    assert len(named) == len(set(named))

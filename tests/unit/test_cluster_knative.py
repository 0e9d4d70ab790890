"""What of the cluster test bed's Knative can be told without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.errors import ClusterError
from tests.cluster.ingress import Routes
from tests.cluster.knative_source import image, serving, sources

_CONFIGURED = ("config-deployment", "config-network", "config-autoscaler", "config-features")


def config_map(name: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name}, "data": {"_example": "x"}}


def definition(name: str, *versions: str) -> dict[str, Any]:
    return {
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {
            "conversion": {"strategy": "Webhook"},
            "versions": [{"name": one, "served": True, "storage": True} for one in versions],
        },
    }


def ingress(uid: str, host: str, service: str) -> dict[str, Any]:
    split = {
        "serviceName": service,
        "serviceNamespace": "default",
        "servicePort": 80,
        "appendHeaders": {"Knative-Serving-Revision": service},
    }
    rule = {"hosts": [host, f"{host}.svc.cluster.local"], "http": {"paths": [{"splits": [split]}]}}
    return {"metadata": {"uid": uid}, "spec": {"rules": [rule]}}


def test_images_are_those_that_are_made_here() -> None:
    container = {"name": "activator", "image": "ko://knative.dev/serving/cmd/activator"}
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "activator"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    made = list(serving([deployment, *map(config_map, _CONFIGURED)]))
    assert container["image"] == image("activator")
    settings = {one["metadata"]["name"]: one["data"] for one in made[1:]}
    assert settings["config-deployment"] == {"_example": "x", "queue-sidecar-image": image("queue")}


def test_a_setting_that_has_no_place_is_told() -> None:
    with pytest.raises(ClusterError, match="config-features"):
        list(serving(map(config_map, _CONFIGURED[:-1])))


def test_what_the_node_cannot_use_is_left_out() -> None:
    others = [{"kind": "Image", "metadata": {"name": "queue"}}]
    assert len(list(serving([*others, *map(config_map, _CONFIGURED)]))) == len(_CONFIGURED)


def test_a_kafka_source_is_served_as_v1_too() -> None:
    found = sources(
        [
            definition("kafkasources.sources.knative.dev", "v1beta1"),
            definition("kafkasinks.eventing.knative.dev", "v1alpha1"),
            definition("pingsources.sources.knative.dev", "v1beta2", "v1"),
            definition("brokers.eventing.knative.dev", "v1"),
        ]
    )
    versions = {
        one["metadata"]["name"].partition(".")[0]: [
            (each["name"], each["storage"]) for each in one["spec"]["versions"]
        ]
        for one in found
    }
    assert versions == {
        "kafkasources": [("v1beta1", True), ("v1", False)],
        "kafkasinks": [("v1alpha1", True)],
        "pingsources": [("v1beta2", True), ("v1", True)],
    }
    assert not any("conversion" in one["spec"] for one in found)


@pytest.mark.parametrize("versions", [("v1",), ("v1beta1", "v1")])
def test_other_versions_of_it_are_told(versions: tuple[str, ...]) -> None:
    definitions = [
        definition("kafkasources.sources.knative.dev", *versions),
        definition("kafkasinks.eventing.knative.dev", "v1alpha1"),
        definition("pingsources.sources.knative.dev", "v1"),
    ]
    with pytest.raises(ClusterError, match="other versions"):
        sources(definitions)
    with pytest.raises(ClusterError, match="no definition of kafkasources"):
        sources(definitions[1:])


def test_routes_follow_their_ingress() -> None:
    routes = Routes()
    assert routes.target("a.default") is None
    routes.changed("ADDED", ingress("1", "a.default", "a-00001"))
    routes.changed("ADDED", ingress("2", "b.default", "b-00001"))
    found = routes.target("a.default.svc.cluster.local:80")
    assert found is not None
    assert (found.host, found.port) == ("a-00001.default.svc.cluster.local", 80)
    assert found.headers == {"Knative-Serving-Revision": "a-00001"}
    routes.changed("MODIFIED", ingress("1", "a.default", "a-00002"))
    found = routes.target("a.default")
    assert found is not None and found.host.startswith("a-00002.")
    routes.changed("DELETED", ingress("1", "a.default", "a-00002"))
    assert routes.target("a.default") is None
    assert routes.target("b.default")

"""What can be chosen, each for itself: it renders, and does what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.chart.cases import values
from tests.chart.helm import CHART, Manifest, helm, kinds
from tests.chart.test_render import pods

Found = dict[tuple[str, str], Manifest]


def gateway(found: Found) -> Manifest:
    pod: Manifest = found["StatefulSet", "gateway"]["spec"]["template"]["spec"]
    return pod


def variables(container: Manifest) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def tls(found: Found) -> bool:
    told = variables(gateway(found)["containers"][0])
    service = found["Service", "gateway"]["spec"]
    return (
        told["PACSLESS_GATEWAY_PORT"] == "-1"
        and told["PACSLESS_GATEWAY_TLS_CLIENT_CA"] == "/etc/pacsless/tls/ca.crt"
        and [one["targetPort"] for one in service["ports"]] == ["dicom-tls"]
        and ("Pod", "check") not in found
    )


def ae_file(found: Found) -> bool:
    told = variables(gateway(found)["containers"][0])
    text = found["ConfigMap", "gateway"]["data"]["ae.toml"]
    return (
        "PACSLESS_GATEWAY_AE_TITLES" not in told and text.strip() == '[tenants.a]\ncalled = ["A"]'
    )


def s3_keys(found: Found) -> bool:
    told = variables(gateway(found)["containers"][0])
    key = told["AWS_SECRET_ACCESS_KEY"]["secretKeyRef"]
    volumes = {one["name"] for one in gateway(found)["volumes"]}
    return (
        told["PACSLESS_ARCHIVE"] == "s3://images/dicom"
        and told["PACSLESS_S3_ENDPOINT"] == "http://minio:9000"
        and key == {"name": "keys", "key": "AWS_SECRET_ACCESS_KEY"}
        and "archive" not in volumes
        and ("PersistentVolumeClaim", "archive") not in found
    )


def without_redis(found: Found) -> bool:
    pod = found["Deployment", "wado-rs"]["spec"]["template"]["spec"]
    # Unset, it would be looked for on the pod itself.
    return variables(pod["containers"][0])["PACSLESS_REDIS"] == "" and (
        ("StatefulSet", "redis") not in found
    )


def by_operators(found: Found) -> bool:
    pod = found["Deployment", "extract-tags"]["spec"]["template"]["spec"]
    told = variables(pod["containers"][0])
    return (
        told["PACSLESS_KAFKA"] == "pacsless-kafka-bootstrap.imaging.svc.cluster.local:9092"
        and told["PACSLESS_POSTGRES"]
        == {"secretKeyRef": {"name": "pacsless-postgres-app", "key": "uri"}}
        and found["Cluster", "postgres"]["spec"]["instances"] == 3
        and found["Cluster", "postgres"]["spec"]["postgresql"]["parameters"]
        == {"max_connections": "400"}
        and found["KafkaNodePool", "kafka-node"]["spec"]["replicas"] == 3
        and ("StatefulSet", "kafka") not in found
    )


def left_out(found: Found) -> bool:
    nginx = found["Deployment", "nginx"]["spec"]["template"]["spec"]["containers"][0]
    told = variables(nginx)
    return told["ORTHANC"] == told["STOW_RS"] == "127.0.0.1:9" and [
        one["name"] for one in gateway(found)["containers"]
    ] == ["scp-gateway"]


def route(found: Found) -> bool:
    spec = found["HTTPRoute", "nginx"]["spec"]
    return bool(spec["rules"][0]["backendRefs"][0]["name"] == "pacsless-nginx")


def doris_outside(found: Found) -> bool:
    (job,) = (one for (kind, name), one in found.items() if kind == "Job" and name == "setup-done")
    pod = job["spec"]["template"]["spec"]
    return [one["args"][0] for one in (*pod["initContainers"], *pod["containers"])] == [
        "wait-for", "migrate", "topics", "tables",
    ]  # fmt: skip


def doris_by_its_operator(found: Found) -> bool:
    pod = found["Deployment", "load-doris"]["spec"]["template"]["spec"]
    told = variables(pod["containers"][0])
    spec = found["DorisCluster", "doris"]["spec"]
    return doris_outside(found) and (
        # Names of Services and pods as the operator makes them.
        told["PACSLESS_DORIS"] == "http://pacsless-doris-fe-service.imaging.svc.cluster.local:8030"
        and told["PACSLESS_DORIS_REDIRECT_HOSTS"]
        == ".pacsless-doris-be-internal.imaging.svc.cluster.local:8040"
        and told["PACSLESS_DORIS_PASSWORD"]
        == {"secretKeyRef": {"name": spec["authSecret"], "key": "password"}}
        and (spec["feSpec"]["image"], spec["beSpec"]["image"])
        == ("apache/doris:fe-4.0.7", "apache/doris:be-4.0.7")
        and spec["feSpec"]["configMapInfo"] == {"configMapName": "fe"}
        and spec["feSpec"]["electionNumber"] == 1
        and ("StatefulSet", "warehouse") not in found
    )


OPTIONS: list[tuple[dict[str, Any], Callable[[Found], bool]]] = [
    ({"gateway": {"plain": False, "tls": {"enabled": True, "existingSecret": "dicom",
                                          "clientCertificates": True}}}, tls),
    ({"gateway": {"aeFile": '[tenants.a]\ncalled = ["A"]\n'}}, ae_file),
    ({"archive": {"source": "s3", "s3": {"bucket": "images", "prefix": "dicom",
      "endpoint": "http://minio:9000", "existingSecret": "keys"}}}, s3_keys),
    ({"redis": {"source": "none"}}, without_redis),
    ({"kafka": {"source": "strimzi"}, "postgres": {"source": "cloudnativepg"}}, by_operators),
    ({"functions": {"orthanc": {"enabled": False}, "stow_rs": {"enabled": False}}}, left_out),
    ({"nginx": {"httpRoute": {"enabled": True, "parentRefs": [{"name": "web"}]}}}, route),
    ({"doris": {"source": "external", "frontEnd": "http://fe:8030", "mysql": "fe:9030",
      "redirectHosts": ["be:8040"], "existingSecret": "doris"}}, doris_outside),
    ({"doris": {"source": "doris-operator", "existingSecret": "doris-root",
                "operator": {"version": "4.0.7", "frontEnds": {"replicas": 1, "configMap": "fe"}}}},
     doris_by_its_operator),
]  # fmt: skip


@pytest.mark.parametrize(("chosen", "holds"), OPTIONS, ids=[one.__name__ for _, one in OPTIONS])
def test_a_choice_does_what_it_says(chosen: dict[str, Any], holds: Callable[[Found], bool]) -> None:
    manifests = helm(4).template(values("local", **chosen))
    for one in manifests:
        assert not kinds().knows(one) or kinds().errors(one) == []
    prefix = "pacsless-"
    found = {(one["kind"], one["metadata"]["name"].removeprefix(prefix)): one for one in manifests}
    assert holds(found)


def test_environment_memory_and_limits_of_one_function() -> None:
    own = {"memoryLimitMb": 4096, "env": {"PACSLESS_LOG_LEVEL_OF_MINE": "x"}}
    manifests = helm(3).template(values("local", functions={"rendered": own}))
    pod = dict(pods(manifests))["Deployment/pacsless-rendered"]["containers"][0]
    assert pod["resources"]["limits"]["memory"] == "4608Mi"
    assert variables(pod)["PACSLESS_MEMORY_LIMIT_MB"] == "4096"
    assert variables(pod)["PACSLESS_LOG_LEVEL_OF_MINE"] == "x"


def test_a_release_of_another_name_has_names_of_its_own() -> None:
    text = helm(4).run("template", "trial", CHART, "--namespace=imaging")
    assert "name: trial-pacsless-gateway" in text and "name: pacsless-" not in text

"""Is this a cluster on which the other suites can tell anything?

Runs on whatever KUBECONFIG names (README.md), in a namespace of its own, which it
removes. What a cluster does not have, a node or KEDA, is skipped and said.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster import layout
from tests.cluster.kubectl import Cluster, Manifest, Refused, own_namespace, run
from tests.eventually import eventually

IMAGE: Final = os.environ.get("PACSLESS_TEST_IMAGE", layout.BUSYBOX)
"""A busybox. Elsewhere: an image that the cluster can get, as ``busybox:1.37``."""

# What the strictest of the Pod Security Standards wants of every pod.
_POD: Final[dict[str, Any]] = {
    "terminationGracePeriodSeconds": 1,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
_CONTAINER: Final[dict[str, Any]] = {
    "image": IMAGE,
    "imagePullPolicy": "IfNotPresent",
    "resources": {"limits": {"memory": "32Mi", "cpu": "200m"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A namespace of the cluster that KUBECONFIG names."""
    with own_namespace("pacsless-bed") as one:
        yield one


@pytest.fixture(scope="module")
def node(cluster: Cluster) -> None:
    cluster.require_node()


def pod(name: str, script: str, **more: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": _pod_spec(script, **more) | {"restartPolicy": "Never"},
    }


def deployment(name: str, script: str, replicas: int, **more: Any) -> Manifest:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": _pod_spec(script, **more)},
        },
    }


def _pod_spec(script: str, volumes: Manifest | None = None, **container: Any) -> Manifest:
    """Spec of a pod that runs a script; `volumes` are sources by the path to mount them at."""
    sources: Manifest = {"/tmp": {"emptyDir": {}}} | (volumes or {})
    named = {path: f"volume-{number}" for number, path in enumerate(sources)}
    return _POD | {
        "containers": [
            _CONTAINER
            | {
                "name": "busybox",
                "command": ["/bin/sh", "-ec", script],
                "volumeMounts": [{"name": named[path], "mountPath": path} for path in sources],
            }
            | container
        ],
        "volumes": [{"name": named[path]} | source for path, source in sources.items()],
    }


# ------------------------------------------------------- level 2: the control plane


def test_the_server_has_a_version_that_charts_can_ask_for(cluster: Cluster) -> None:
    version = json.loads(cluster.kubectl("version", "--output=json"))["serverVersion"]
    found = re.match(r"v1\.(\d+)\.\d+", version["gitVersion"])
    assert found and int(found[1]) >= 29, version
    if os.environ["KUBECONFIG"] == str(layout.KUBECONFIG):
        assert version["gitVersion"] == f"v{layout.KUBERNETES}"


def test_a_field_that_is_none_is_refused(cluster: Cluster) -> None:
    right = deployment("refused", "true", 1)
    cluster.apply(right, server_only=True)
    wrong = right | {"spec": right["spec"] | {"replicaz": 2}}
    with pytest.raises(Refused, match=r'unknown field "spec\.replicaz"'):
        cluster.apply(wrong, server_only=True)


def test_a_field_that_is_none_of_keda_is_refused(cluster: Cluster) -> None:
    if not cluster.has_kind("scaledobjects.keda.sh"):
        pytest.skip("the cluster does not know KEDA's kinds")
    right = scaled_object("refused", "127.0.0.1:9092", "topic")
    cluster.apply(right, server_only=True)
    wrong = right | {"spec": right["spec"] | {"maxReplicas": 2}}
    with pytest.raises(Refused, match=r'unknown field "spec\.maxReplicas"'):
        cluster.apply(wrong, server_only=True)


def test_helm_installs_upgrades_and_rolls_back(cluster: Cluster, tmp_path: Path) -> None:
    if shutil.which("helm") is None:
        pytest.skip("not installed: helm")
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text(
        "apiVersion: v2\nname: bed\nversion: 0.1.0\nkubeVersion: '>= 1.29.0-0'\n"
    )
    (tmp_path / "templates" / "it.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it}\n"
        "data: {colour: {{ .Values.colour | quote }}}\n"
    )

    def helm(*arguments: str | Path) -> str:
        return run("helm", f"--namespace={cluster.namespace}", *arguments)

    def colour() -> str:
        return str(cluster.get("configmap", "it")["data"]["colour"])

    helm("install", "bed", tmp_path, "--set=colour=red")
    assert colour() == "red"
    helm("upgrade", "bed", tmp_path, "--set=colour=blue")
    assert colour() == "blue"
    helm("rollback", "bed", "1")
    assert colour() == "red"
    assert len(json.loads(helm("history", "bed", "--output=json"))) == 3
    helm("uninstall", "bed")
    with pytest.raises(Refused, match="not found"):
        colour()


# --------------------------------------------------------------- level 3: the node


@pytest.fixture(scope="module")
def web(cluster: Cluster, node: None) -> str:
    """A Service of two pods, each of which tells its name by HTTP."""
    script = "mkdir /tmp/www; hostname >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    cluster.apply(deployment("web", script, 2, readinessProbe=probe), service)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    return "web"


def test_a_deployment_gets_its_pods(cluster: Cluster, web: str) -> None:
    assert cluster.get("deployment", web)["status"]["readyReplicas"] == 2


def test_pods_find_a_service_by_its_name_and_reach_all_behind_it(
    cluster: Cluster, web: str
) -> None:
    pods = [one["metadata"]["name"] for one in cluster.get("pods")["items"]]
    of_web = {name for name in pods if name.startswith("web-")}
    address = cluster.get("service", web)["spec"]["clusterIP"]

    def inside(*command: str) -> str:
        return cluster.kubectl("exec", f"deployment/{web}", "--", *command)

    found = inside("nslookup", f"{web}.{cluster.namespace}.svc.cluster.local")
    assert address in found
    answered: set[str] = set()

    def both() -> bool:
        # By its address: a static busybox looks up no names but in nslookup.
        answered.add(inside("wget", "-q", "-O", "-", f"http://{address}/").strip())
        return answered == of_web

    eventually(both)


def test_a_volume_is_made_for_a_claim_and_outlives_pods(cluster: Cluster, node: None) -> None:
    if not any(
        one["metadata"].get("annotations", {}).get("storageclass.kubernetes.io/is-default-class")
        == "true"
        for one in cluster.get("storageclasses")["items"]
    ):
        pytest.skip("the cluster has no default StorageClass")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "kept"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "16Mi"}},
        },
    }
    mounted = {"/kept": {"persistentVolumeClaim": {"claimName": "kept"}}}
    word = secrets.token_hex(16)
    cluster.apply(claim, pod("writes", f"echo {word} >/kept/word; sync", volumes=mounted))
    cluster.wait_for_phase("pod", "writes", "Succeeded")
    assert cluster.get("pvc", "kept")["status"]["phase"] == "Bound"
    cluster.kubectl("delete", "pod", "writes")
    cluster.apply(pod("reads", "cat /kept/word", volumes=mounted))
    cluster.wait_for_phase("pod", "reads", "Succeeded")
    assert cluster.kubectl("logs", "reads").strip() == word


# ----------------------------------------------------------- level 4: Kafka and KEDA

_PARTITIONS: Final = 4


def scaled_object(name: str, kafka: str, topic: str) -> Manifest:
    trigger = {
        "bootstrapServers": kafka,
        "topic": topic,
        "consumerGroup": topic,
        "lagThreshold": "10",
        "offsetResetPolicy": "earliest",
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": name},
            "pollingInterval": 1,
            "cooldownPeriod": 3,
            "minReplicaCount": 0,
            "maxReplicaCount": _PARTITIONS,
            "triggers": [{"type": "kafka", "metadata": trigger}],
        },
    }


def test_lag_scales_from_zero_and_back(cluster: Cluster, node: None) -> None:
    kafka = os.environ.get("PACSLESS_KAFKA")
    if not kafka:
        pytest.skip("PACSLESS_KAFKA, a broker that KEDA and this test reach, is not set")
    if not cluster.has_kind("scaledobjects.keda.sh"):
        pytest.skip("the cluster does not know KEDA's kinds")
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

    topic = cluster.namespace
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics({topic: {"num_partitions": _PARTITIONS, "replication_factor": -1}})
    # The group whose lag counts: it handles nothing until told to.
    group = KafkaConsumer(
        bootstrap_servers=kafka, group_id=topic, enable_auto_commit=False,
        auto_offset_reset="earliest",
    )  # fmt: skip
    group.assign([TopicPartition(topic, number) for number in range(_PARTITIONS)])

    def ready() -> int:
        return int(cluster.get("deployment", "scaled")["status"].get("readyReplicas", 0))

    def replicas() -> int:
        return int(cluster.get("deployment", "scaled")["status"].get("replicas", 0))

    try:
        for partition in group.assignment():
            group.position(partition)
        group.commit()
        cluster.apply(
            deployment("scaled", "exec sleep 3600", 0), scaled_object("scaled", kafka, topic)
        )
        cluster.kubectl("wait", "scaledobject/scaled", "--for=condition=Ready", "--timeout=60s")
        assert replicas() == 0
        producer = KafkaProducer(bootstrap_servers=kafka)
        for number in range(120):
            producer.send(topic, value=b"event", partition=number % _PARTITIONS)
        producer.close()
        eventually(lambda: ready() == _PARTITIONS, within=180)
        group.seek_to_end()
        for partition in group.assignment():
            group.position(partition)
        group.commit()
        eventually(lambda: replicas() == 0, within=180)
    finally:
        group.close()
        admin.delete_topics([topic])
        admin.close()

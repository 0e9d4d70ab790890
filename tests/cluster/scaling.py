"""Kafka, and KEDA, which scales by its lag."""

from __future__ import annotations

import base64
import shutil
import socket
from typing import Final

from pacsless.stack import kafka
from pacsless.stack.configuration import substitute
from pacsless.stack.lifecycle import CACHE
from tests.cluster import layout
from tests.cluster.certificates import AUTHORITY, kubeconfig_of, pair_of
from tests.cluster.control_plane import apply, condition, http_ok
from tests.cluster.progress import step
from tests.cluster.running import Programs

_OPERATOR: Final = "127.0.0.1:9666"


def start_kafka(programs: Programs) -> None:
    """Start the stack's own broker, at the node's address; it takes its time by itself."""
    command = kafka.prepare(
        layout.HOME / "kafka",
        kafka.jars(CACHE),
        port=layout.KAFKA_PORT,
        controller_port=layout.KAFKA_PORT + 1,
        host=layout.NODE_ADDRESS,
    )
    programs.start(
        "kafka",
        command,
        ready=_lists_topics,
        port=layout.KAFKA_PORT,
        environment={"JDK_JAVA_OPTIONS": f"-Djava.io.tmpdir={layout.HOME} -XX:-UsePerfData"},
    )


def start_keda(programs: Programs) -> None:
    """Start KEDA, and return when the API server has its metrics, and Kafka answers."""
    with step("KEDA's operator and metrics adapter"):
        certificates = layout.HOME / "keda"
        certificates.mkdir(exist_ok=True)
        own = pair_of("keda")
        for source, name in (
            (AUTHORITY, "ca.crt"), (own.certificate, "tls.crt"), (own.key, "tls.key")
        ):  # fmt: skip
            shutil.copy(source, certificates / name)
        values = {
            "AUTHORITY": base64.b64encode(AUTHORITY.read_bytes()).decode(),
            "NODE_ADDRESS": layout.NODE_ADDRESS,
        }
        apply(substitute((layout.FILES / "keda.yaml").read_text(), values))
        kubeconfig = kubeconfig_of("keda")
        # Every namespace is watched.
        environment = {
            "WATCH_NAMESPACE": "",
            "POD_NAMESPACE": "keda",
            "KEDA_CLUSTER_OBJECT_NAMESPACE": "keda",
        }
        programs.start(
            "keda-operator",
            [
                layout.BIN / "keda-operator",
                f"--kubeconfig={kubeconfig}",
                "--leader-elect=false",
                f"--cert-dir={certificates}",
                "--enable-cert-rotation=false",
                "--enable-webhook-patching=false",
                "--enable-apiservice-patching=false",
                f"--metrics-service-bind-address={_OPERATOR}",
                "--metrics-bind-address=127.0.0.1:8080",
                "--health-probe-bind-address=127.0.0.1:8081",
                "--zap-log-level=info",
            ],
            ready=http_ok("http://127.0.0.1:8081/readyz"),
            port=9666,
            environment=environment,
        )
        programs.wait("keda-operator")
        programs.start(
            "keda-adapter",
            [
                layout.BIN / "keda-adapter",
                f"--kubeconfig={kubeconfig}",
                f"--authentication-kubeconfig={kubeconfig}",
                f"--authorization-kubeconfig={kubeconfig}",
                f"--lister-kubeconfig={kubeconfig}",
                "--secure-port=6444",
                "--bind-address=0.0.0.0",
                f"--cert-dir={certificates}",
                f"--tls-cert-file={own.certificate}",
                f"--tls-private-key-file={own.key}",
                f"--client-ca-file={AUTHORITY}",
                f"--metrics-service-address={_OPERATOR}",
                # Of its own metrics; the default is the operator's, too.
                "--port=8082",
            ],
            ready=condition("apiservice", "v1beta1.external.metrics.k8s.io", "Available"),
            port=6444,
            environment=environment,
        )
        programs.wait("keda-adapter")
    with step("Kafka"):
        programs.wait("kafka")


def _lists_topics() -> bool:
    # Kafka's client waits longer for a listener than one takes to appear.
    with socket.create_connection((layout.NODE_ADDRESS, layout.KAFKA_PORT), 2):
        from kafka import KafkaAdminClient

        client = KafkaAdminClient(bootstrap_servers=layout.KAFKA)
        client.list_topics()
        client.close()
    return True

"""Where everything of the test bed is: folders, names, addresses, versions."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, Literal

from pacsless.stack.lifecycle import CACHE
from pacsless.stack.settings import REPOSITORY

Level = Literal[2, 3, 4, 5]
"""2: the control plane; 3: and a node, DNS, volumes; 4: and Kafka, KEDA; 5: and Knative Serving."""

HERE: Final = Path(__file__).parent
FILES: Final = HERE / "files"
PROGRAMS: Final = HERE / "programs"

KUBERNETES: Final = "1.34.4"

# Kept by cluster-down.
BUILT: Final = CACHE / "cluster"
BIN: Final = BUILT / "bin"
CRDS: Final = BUILT / "crds"
IMAGES: Final = BUILT / "images"
KNATIVE: Final = BUILT / "knative"

NAME: Final = f"pacsless-{hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:8]}"
"""Of the cluster's network namespace, its cgroup and its folder: one a checkout."""

# Sockets are in it, so its path is short (unix(7): 108 bytes), and images and
# volumes, so it is on a disk: /run and /tmp may be in memory.
HOME: Final = Path("/var/tmp") / NAME
LOGS: Final = HOME / "logs"
PKI: Final = HOME / "pki"
KUBECONFIG: Final = HOME / "admin.kubeconfig"
CONTAINERD: Final = HOME / "containerd.sock"
ENVIRONMENT: Final = REPOSITORY / ".pacsless" / "cluster.env"
"""What in-cluster and load-image read; there while the cluster is."""

NETWORK: Final = Path("/run/netns") / NAME
CGROUPS: Final = Path("/sys/fs/cgroup")

PRIVATE: Final = tuple(
    map(Path, ("/run", "/var/log", "/var/lib/cni", "/var/lib/kubelet", "/usr/libexec/kubernetes"))
)
"""Folders in whose place the cluster has empty ones."""

RECORDS: Final = HOME / "processes"
MADE: Final = HOME / "made"
"""Those of them that were not there before."""

INIT: Final = HOME / "init.pid"
INIT_READY: Final = HOME / "init.ready"

NODE: Final = "node1"
# All of these are in the cluster's network namespace, so they meet nobody else's.
NODE_ADDRESS: Final = "10.250.0.1"
SERVICES: Final = "10.96.0.0/16"
API_SERVICE: Final = "10.96.0.1"
DNS_SERVICE: Final = "10.96.0.10"
PODS: Final = "10.244.0.0/24"
API_SERVER: Final = "https://127.0.0.1:6443"
KAFKA_PORT: Final = 9092
INGRESS_PORT: Final = 8880
KAFKA: Final = f"{NODE_ADDRESS}:{KAFKA_PORT}"

BUSYBOX: Final = "localhost/busybox:1"
PAUSE: Final = "localhost/pause:1"

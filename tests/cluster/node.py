"""The node: scheduler, containerd, kubelet, kube-proxy, DNS and volumes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from pacsless.stack.configuration import substitute
from tests.cluster import layout
from tests.cluster.certificates import AUTHORITY, kubeconfig_of, pair_of
from tests.cluster.control_plane import apply, condition, has, http_ok
from tests.cluster.errors import ClusterError
from tests.cluster.progress import step
from tests.cluster.running import Programs

_VALUES: Final = {
    "AUTHORITY": str(AUTHORITY),
    "BUSYBOX": layout.BUSYBOX,
    "CONTAINERD": str(layout.CONTAINERD),
    "DNS_SERVICE": layout.DNS_SERVICE,
    "NODE_ADDRESS": layout.NODE_ADDRESS,
    "HOME": str(layout.HOME),
    "NAME": layout.NAME,
    "NODE": layout.NODE,
    "PAUSE": layout.PAUSE,
    "PODS": layout.PODS,
}


def start(programs: Programs) -> None:
    """Start the node, and return when pods can run on it."""
    with step("containerd and its images"):
        _start_containerd(programs)
    with step("kube-scheduler, kubelet: the node is ready"):
        _start_scheduler(programs)
        _start_kubelet(programs)
    with step("kube-proxy, CoreDNS, local-path-provisioner"):
        _start_kube_proxy(programs)
        _start_dns(programs)
        _start_volumes(programs)
        for name in ("kube-scheduler", "kube-proxy", "coredns", "local-path-provisioner"):
            programs.wait(name)


def load_image(archive: Path) -> None:
    """Give an image to containerd.

    Raises
    ------
    ClusterError
        If it is none.
    """
    done = subprocess.run(
        ["ctr", f"--address={layout.CONTAINERD}", "--namespace=k8s.io",
         "images", "import", "--no-unpack", archive],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ClusterError("image", f"{archive} cannot be loaded: {done.stderr.strip()}")


def _start_containerd(programs: Programs) -> None:
    _write("bridge.conflist", layout.HOME / "cni" / "10-bridge.conflist")
    programs.start(
        "containerd",
        ["containerd", f"--config={_write('containerd.toml')}"],
        ready=_containerd_answers,
    )
    programs.wait("containerd")
    for archive in sorted(layout.IMAGES.glob("*.tar")):
        load_image(archive)


def _containerd_answers() -> bool:
    asked = ["ctr", f"--address={layout.CONTAINERD}", "version"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def _start_scheduler(programs: Programs) -> None:
    kubeconfig = kubeconfig_of("kube-scheduler")
    programs.start(
        "kube-scheduler",
        [
            layout.BIN / "kube-scheduler",
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ],
        ready=http_ok("https://127.0.0.1:10259/healthz"),
        port=10259,
    )


def _start_kubelet(programs: Programs) -> None:
    own = pair_of("kubelet")
    programs.start(
        "kubelet",
        [
            layout.BIN / "kubelet",
            f"--config={_write('kubelet.yaml', CERTIFICATE=own.certificate, KEY=own.key)}",
            f"--kubeconfig={kubeconfig_of('kubelet')}",
            f"--hostname-override={layout.NODE}",
            f"--node-ip={layout.NODE_ADDRESS}",
            f"--root-dir={layout.HOME / 'kubelet'}",
            f"--cert-dir={layout.HOME / 'kubelet' / 'pki'}",
        ],
        ready=condition("node", layout.NODE, "Ready"),
        port=10250,
    )
    programs.wait("kubelet")


def _start_kube_proxy(programs: Programs) -> None:
    configuration = _write("kube-proxy.yaml", KUBECONFIG=kubeconfig_of("kube-proxy"))
    programs.start(
        "kube-proxy",
        [layout.BIN / "kube-proxy", f"--config={configuration}"],
        ready=http_ok("http://127.0.0.1:10256/healthz"),
        port=10256,
    )


def _start_dns(programs: Programs) -> None:
    configuration = _write("Corefile", KUBECONFIG=kubeconfig_of("coredns"))
    programs.start(
        "coredns",
        [layout.BIN / "coredns", "-conf", configuration],
        ready=http_ok("http://127.0.0.1:8181/ready"),
        port=8181,
    )


def _start_volumes(programs: Programs) -> None:
    apply((layout.FILES / "volumes.yaml").read_text())
    programs.start(
        "local-path-provisioner",
        [
            layout.BIN / "local-path-provisioner",
            "start",
            f"--config={_write('volumes.json')}",
            f"--helper-pod-file={_write('volume-pod.yaml')}",
            f"--kubeconfig={kubeconfig_of('local-path-provisioner')}",
        ],
        # It answers nobody: whether it works shows when it makes a volume.
        ready=lambda: has("get", "storageclass", "local-path"),
    )


def _write(name: str, target: Path | None = None, **values: Path) -> Path:
    """Fill in a file of `layout.FILES`, and return where it is."""
    target = target or layout.HOME / name
    target.parent.mkdir(exist_ok=True)
    every = _VALUES | {key: str(value) for key, value in values.items()}
    content = substitute((layout.FILES / name).read_text(), every)
    # kube-proxy ends when its file is written, even with what was there.
    if not target.exists() or target.read_text() != content:
        target.write_text(content)
    return target

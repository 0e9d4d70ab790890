"""etcd, the API server, the controllers; and what is asked of the API."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from tests.cluster import layout
from tests.cluster.certificates import AUTHORITY, FRONT_PROXY_AUTHORITY, kubeconfig_of, pair_of
from tests.cluster.errors import ClusterError
from tests.cluster.running import Programs, Ready

_ETCD = "http://127.0.0.1:2379"
_ETCD_PEERS = "http://127.0.0.1:2380"


def start(programs: Programs) -> None:
    """Start the control plane, and return when it serves and reconciles."""
    programs.start(
        "etcd",
        [
            "etcd",
            f"--data-dir={layout.HOME / 'etcd'}",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            f"--listen-peer-urls={_ETCD_PEERS}",
            f"--initial-advertise-peer-urls={_ETCD_PEERS}",
            f"--initial-cluster=default={_ETCD_PEERS}",
            # What it holds ends with the cluster.
            "--unsafe-no-fsync",
        ],
        ready=http_ok(f"{_ETCD}/health"),
        port=2379,
    )
    programs.wait("etcd")
    server, to_kubelet = pair_of("kube-apiserver"), pair_of("kube-apiserver-to-kubelet")
    tokens, front_proxy = pair_of("service-accounts"), pair_of("front-proxy")
    programs.start(
        "kube-apiserver",
        [
            layout.BIN / "kube-apiserver",
            f"--etcd-servers={_ETCD}",
            "--secure-port=6443",
            "--bind-address=0.0.0.0",
            # Becomes the endpoint of a Service: loopback is refused there.
            f"--advertise-address={layout.NODE_ADDRESS}",
            f"--service-cluster-ip-range={layout.SERVICES}",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={AUTHORITY}",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={tokens.certificate}",
            f"--service-account-signing-key-file={tokens.key}",
            f"--kubelet-client-certificate={to_kubelet.certificate}",
            f"--kubelet-client-key={to_kubelet.key}",
            f"--kubelet-certificate-authority={AUTHORITY}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--proxy-client-cert-file={front_proxy.certificate}",
            f"--proxy-client-key-file={front_proxy.key}",
            f"--requestheader-client-ca-file={FRONT_PROXY_AUTHORITY}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            # KEDA's metrics API is no pod: it is reached by its Service's endpoint.
            "--enable-aggregator-routing=true",
            "--profiling=false",
        ],
        ready=http_ok(f"{layout.API_SERVER}/readyz", AUTHORITY),
        port=6443,
    )
    programs.wait("kube-apiserver")
    healthy = http_ok("https://127.0.0.1:10257/healthz")
    kubeconfig, signing = kubeconfig_of("kube-controller-manager"), pair_of("cluster-signing")
    programs.start(
        "kube-controller-manager",
        [
            layout.BIN / "kube-controller-manager",
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={tokens.key}",
            f"--root-ca-file={AUTHORITY}",
            f"--cluster-signing-cert-file={signing.certificate}",
            f"--cluster-signing-key-file={signing.key}",
            "--bind-address=127.0.0.1",
            # Defaults are 15 s and 5 minutes: for clusters, not for tests.
            "--horizontal-pod-autoscaler-sync-period=3s",
            "--horizontal-pod-autoscaler-downscale-stabilization=10s",
        ],
        # Nobody can make a pod before it has made this.
        ready=lambda: healthy() and has("get", "serviceaccount", "default", "--namespace=default"),
        port=10257,
    )
    programs.wait("kube-controller-manager")


def kubectl(*arguments: str | Path, given: str | None = None) -> str:
    """Run kubectl as the cluster's administrator, and return what it prints.

    Raises
    ------
    ClusterError
        If it fails.
    """
    done = subprocess.run(
        [layout.BIN / "kubectl", f"--kubeconfig={layout.KUBECONFIG}", *arguments],
        input=given, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        command = " ".join(map(str, arguments))
        raise ClusterError("kubectl", f"kubectl {command}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def apply(manifest: str) -> None:
    """Make or renew what a manifest describes; a field that is none is refused."""
    kubectl(
        "apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", "-",
        given=manifest,
    )  # fmt: skip


def has(*arguments: str) -> bool:
    """Whether kubectl succeeds."""
    kubectl(*arguments)
    return True


def condition(kind: str, name: str, wanted: str) -> Ready:
    """Ask whether an object has a condition."""

    def ready() -> bool:
        status = json.loads(kubectl("get", kind, name, "--output=json")).get("status", {})
        return any(
            one["type"] == wanted and one["status"] == "True"
            for one in status.get("conditions", ())
        )

    return ready


def http_status(url: str) -> int:
    """Status of the answer to ``GET url``, whatever it is."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def http_ok(url: str, authority: Path | None = None) -> Ready:
    """Ask whether ``GET url`` is answered with 2xx.

    Parameters
    ----------
    url
        May be HTTPS.
    authority
        Who has issued the server's certificate; none if it has made that itself.
    """
    context = ssl.create_default_context(cafile=authority)
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def ready() -> bool:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return bool(200 <= answer.status < 300)

    return ready

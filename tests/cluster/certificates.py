"""Who is who in the cluster: keys, certificates and kubeconfigs, made anew for each."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Final

from tests.certificates import Authority, Pair
from tests.cluster import layout

AUTHORITY: Final = layout.PKI / "kubernetes-ca.pem"
FRONT_PROXY_AUTHORITY: Final = layout.PKI / "front-proxy-ca.pem"

# Names and organizations are those that RBAC's default roles are bound to. KEDA, the
# volume provisioner and CoreDNS have service accounts where they run as pods.
_CLIENTS: Final = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{layout.NODE}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", ""),
    "coredns": ("coredns", "system:masters"),
    "local-path-provisioner": ("local-path-provisioner", "system:masters"),
    "keda": ("keda", "system:masters"),
}
_ADDRESSES: Final = ("127.0.0.1", layout.NODE_ADDRESS)


def make() -> None:
    """Make them all, unless they are there."""
    done = layout.PKI / "done"
    if done.exists():
        return
    layout.PKI.mkdir(mode=0o700, exist_ok=True)
    authority = Authority(layout.PKI, AUTHORITY.stem)
    _keep("cluster-signing", authority.pair())
    for client, (name, organization) in _CLIENTS.items():
        issued = authority.issue(name, organization=organization, usage="client")
        _write_kubeconfig(kubeconfig_of(client), authority, issued)
    to_kubelet = authority.issue("kube-apiserver", organization="system:masters", usage="client")
    _keep("kube-apiserver-to-kubelet", to_kubelet)
    _keep(
        "kube-apiserver",
        authority.issue(
            "kube-apiserver",
            ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
             "kubernetes.default.svc.cluster.local"),
            addresses=(*_ADDRESSES, layout.API_SERVICE), usage="server",
        ),
    )  # fmt: skip
    _keep("kubelet", authority.issue("kubelet", (layout.NODE,), addresses=_ADDRESSES))
    # Of the operator, of the adapter, and of the latter as the former's client.
    services = ("localhost", "keda-operator.keda.svc", "keda-metrics-apiserver.keda.svc")
    _keep("keda", authority.issue("keda", services))
    # Signs tokens; only its key counts.
    _keep("service-accounts", authority.issue("service-accounts"))
    front_proxy = Authority(layout.PKI, FRONT_PROXY_AUTHORITY.stem)
    _keep("front-proxy", front_proxy.issue("front-proxy-client", usage="client"))
    done.touch()


def pair_of(name: str) -> Pair:
    """Certificate and key of a server, or of a client that takes no kubeconfig."""
    return Pair(layout.PKI / f"{name}.pem", layout.PKI / f"{name}.key")


def kubeconfig_of(name: str) -> Path:
    """File with which a client of this name is let in."""
    return layout.KUBECONFIG if name == "admin" else layout.PKI / f"{name}.kubeconfig"


def _keep(name: str, pair: Pair) -> None:
    own = pair_of(name)
    shutil.copy(pair.certificate, own.certificate)
    shutil.copy(pair.key, own.key)


def _write_kubeconfig(file: Path, authority: Authority, client: Pair) -> None:
    # JSON is YAML. What is named is in the file, so that it can be copied elsewhere.
    cluster = {
        "server": layout.API_SERVER,
        "certificate-authority-data": _data(authority.certificate),
    }
    user = {
        "client-certificate-data": _data(client.certificate),
        "client-key-data": _data(client.key),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": layout.NAME, "cluster": cluster}],
        "users": [{"name": layout.NAME, "user": user}],
        "contexts": [
            {"name": layout.NAME, "context": {"cluster": layout.NAME, "user": layout.NAME}}
        ],
        "current-context": layout.NAME,
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(content, indent=2))


def _data(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()

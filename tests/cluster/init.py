"""First process of the cluster's namespaces: ``python -m tests.cluster.init``.

All processes of the cluster and of its pods descend from it or are given to it,
so they, and all mounts, end with it, however they came to be.
"""

from __future__ import annotations

import os
import signal
import subprocess

from tests.cluster import layout


def main() -> None:
    """Make what the cluster writes to outside its folder private, and bury children."""
    wanted = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    # containerd: sockets of its shims, pods' network namespaces; CNI: results; kubelet
    # and controllers: links to logs, folders of plugins. None can be told all others.
    for folder in layout.PRIVATE:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", layout.NAME, folder], check=True)
    # Whoever asks the node's resolver asks CoreDNS, and nobody outside: pods that want to, and
    # KEDA, which as a pod would find Kafka by the name of its Service. By the node's address,
    # since kube-proxy lets the node send to Services' addresses only what they are for.
    resolver = layout.HOME / "resolv.conf"
    resolver.write_text(f"nameserver {layout.NODE_ADDRESS}\n")
    subprocess.run(["mount", "--bind", resolver, "/etc/resolv.conf"], check=True)
    # Where volumes with mount propagation need it; it ends at this namespace.
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    layout.INIT_READY.touch()
    while signal.sigwait(wanted) != signal.SIGTERM:
        _bury()


def _bury() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    main()

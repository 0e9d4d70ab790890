"""What the cluster lives in: namespaces of network, mounts and processes, and a cgroup.

The network namespace has a name, so that suites can enter it. Mounts and
processes end with the first process, whose number is recorded; nothing is ever
looked for by its name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pacsless.stack.settings import REPOSITORY
from tests.cluster import layout
from tests.cluster.errors import ClusterError
from tests.cluster.running import Process


def require() -> None:
    """Look whether namespaces can be made here.

    Raises
    ------
    ClusterError
        And why not.
    """
    if os.geteuid() != 0:
        raise ClusterError("root", "a cluster needs namespaces and mounts: run this as root")
    missing = [one for one in ("ip", "nsenter", "unshare", "mount") if shutil.which(one) is None]
    if missing:
        raise ClusterError(
            "programs", f"not installed: {', '.join(missing)} (apt-get install iproute2 util-linux)"
        )


def first_process() -> int | None:
    """Number of the cluster's first process, or None if it does not run."""
    unshare = Process.recorded(layout.INIT)
    if unshare is None:
        return None
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
    with contextlib.suppress(OSError, ValueError):
        return int(children.read_text().split()[0])
    return None


def make() -> int:
    """Make all of it, and return the number of the first process.

    Raises
    ------
    ClusterError
        If the kernel refuses.
    """
    layout.LOGS.mkdir(parents=True)
    _make_private_folders()
    _make_cgroups()
    _make_network()
    with (layout.LOGS / "init.log").open("w") as log:
        unshare = subprocess.Popen(
            ["nsenter", f"--net={layout.NETWORK}",
             "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc",
             # A session of its own: what ends a terminal's processes spares the cluster.
             "setsid", sys.executable, "-m", "tests.cluster.init"],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    Process.of(unshare.pid).record(layout.INIT)
    deadline = time.monotonic() + 20
    while not layout.INIT_READY.exists():
        if unshare.poll() is not None or time.monotonic() > deadline:
            told = (layout.LOGS / "init.log").read_text().strip()
            raise ClusterError("namespaces", f"the kernel gives no namespaces of our own: {told}")
        time.sleep(0.02)
    first = first_process()
    assert first is not None
    return first


def remove() -> None:
    """End the cluster, and remove whatever it had, or what is left of one.

    Raises
    ------
    ClusterError
        If something does not end.
    """
    unshare, first = Process.recorded(layout.INIT), first_process()
    if unshare is not None:
        # With the first process the kernel ends all in its namespace, before it is gone.
        with contextlib.suppress(ProcessLookupError):
            os.kill(first if first is not None else unshare.pid, signal.SIGKILL)
        if not unshare.gone_within(30):
            raise ClusterError(
                "processes", f"process {first} does not end; see /proc/{first}/stack"
            )
    for group in _own_cgroups():
        _remove_cgroup(group)
    if layout.NETWORK.exists():
        _run("ip", "netns", "delete", layout.NAME)
    _remove_private_folders()
    shutil.rmtree(layout.HOME, ignore_errors=True)
    if layout.HOME.exists():
        raise ClusterError(
            "folder", f"{layout.HOME} cannot be removed: is something mounted in it?"
        )
    layout.ENVIRONMENT.unlink(missing_ok=True)


def is_left() -> bool:
    """Whether there is anything of a cluster."""
    return layout.HOME.exists() or layout.NETWORK.exists() or any(_own_cgroups())


def strangers() -> list[str]:
    """Processes that run in the network namespace, and are not the cluster's."""
    if not layout.NETWORK.exists() or first_process() is not None:
        return []
    pids = _run("ip", "netns", "pids", layout.NAME).split()
    return [f"{pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})" for pid in pids]


def inside(first: int, *command: str) -> list[str]:
    """Command that runs another one in all of the cluster's namespaces."""
    return [
        "nsenter", f"--target={first}", "--mount", "--net", "--pid",
        "env", f"--chdir={REPOSITORY}", *command,
    ]  # fmt: skip


def _make_private_folders() -> None:
    """Make what is mounted over, and note what was not there before."""
    made = [
        folder
        for folder in layout.PRIVATE
        if not folder.exists() or (_others() and not any(folder.iterdir()))
    ]
    layout.MADE.write_text("".join(f"{folder}\n" for folder in made))
    for folder in made:
        folder.mkdir(parents=True, exist_ok=True)


def _remove_private_folders() -> None:
    # Where another cluster stands, removing a folder would take its mount away as well
    # (it is allowed): the last one removes them.
    if _others() or not layout.MADE.exists():
        return
    for folder in layout.MADE.read_text().splitlines():
        # Not empty: it has become somebody else's.
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _others() -> bool:
    """Whether other checkouts have clusters."""
    return any(one != layout.NETWORK for one in layout.NETWORK.parent.glob("pacsless-*"))


def _make_network() -> None:
    if not layout.NETWORK.exists():
        _run("ip", "netns", "add", layout.NAME)

    def ip(*arguments: str) -> None:
        _run("ip", "-netns", layout.NAME, *arguments)

    ip("link", "set", "lo", "up")
    # A bridge to nothing: pods need bridges anyway, and some kernels have no dummy device.
    ip("link", "add", "node0", "type", "bridge")
    ip("address", "add", f"{layout.NODE_ADDRESS}/24", "dev", "node0")
    ip("address", "add", f"{layout.DNS_SERVICE}/32", "dev", "node0")
    ip("link", "set", "node0", "up")
    # Leads nowhere. But without a route a connection to a Service fails before NAT.
    ip("route", "add", "default", "dev", "node0")
    # Written from within; /proc shows the settings of whoever opens it.
    _run("nsenter", f"--net={layout.NETWORK}", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")


def _make_cgroups() -> None:
    """Make the cgroup that is the kubelet's root, under each hierarchy."""
    for hierarchy in _hierarchies():
        controllers = hierarchy / "cgroup.controllers"
        if controllers.exists() and hierarchy == layout.CGROUPS:
            wanted = {"cpu", "cpuset", "io", "memory", "pids"} & set(
                controllers.read_text().split()
            )
            try:
                (hierarchy / "cgroup.subtree_control").write_text(
                    " ".join(f"+{one}" for one in sorted(wanted))
                )
            except OSError as error:
                raise ClusterError(
                    "cgroups", f"{hierarchy} does not give its controllers away: {error.strerror}"
                ) from error
        try:
            (hierarchy / layout.NAME).mkdir(exist_ok=True)
        except OSError as error:
            raise ClusterError(
                "cgroups", f"{hierarchy} cannot be written: {error.strerror}"
            ) from error


def _hierarchies() -> Iterator[Path]:
    """Mounts of cgroups: one of version 2, or several of version 1 (and one of 2)."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _device, place, kind, *_ = line.split()
        if kind in {"cgroup", "cgroup2"}:
            yield Path(place)


def _own_cgroups() -> Iterator[Path]:
    for hierarchy in _hierarchies():
        if (group := hierarchy / layout.NAME).is_dir():
            yield group


def _remove_cgroup(group: Path) -> None:
    # Its files are not files: only folders are removed, the innermost first. Processes
    # that have ended may be counted for a moment longer.
    for folder, _, _ in os.walk(group, topdown=False):
        deadline = time.monotonic() + 10
        while True:
            try:
                os.rmdir(folder)
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ClusterError(
                        "cgroups", f"{folder} cannot be removed: {error.strerror}"
                    ) from error
                time.sleep(0.05)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError("namespaces", f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout

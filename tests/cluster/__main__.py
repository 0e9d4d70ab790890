"""``python -m tests.cluster up|down``: what ``make cluster-up`` and ``cluster-down`` do."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

import click

from pacsless.errors import PacslessError
from tests.cluster import (
    build,
    certificates,
    control_plane,
    knative,
    layout,
    namespaces,
    node,
    scaling,
)
from tests.cluster.errors import ClusterError
from tests.cluster.layout import Level
from tests.cluster.progress import say, step
from tests.cluster.running import Process, Programs

_LEVELS: Final = click.Choice(["2", "3", "4", "5"])
_USE: Final = f"""
  tests/cluster/in-cluster COMMAND…         run anything beside it, as for example
  tests/cluster/in-cluster kubectl get nodes
  tests/cluster/in-cluster .venv/bin/python -m pytest tests/cluster/test_bed.py
  tests/cluster/load-image FILE.tar…        give it images

which is: KUBECONFIG={layout.KUBECONFIG} nsenter --net={layout.NETWORK} COMMAND…
"""


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@click.option("--level", type=_LEVELS, default="4", show_default=True)
def up(level: str) -> None:
    """Build what is missing, start what does not run."""
    namespaces.require()
    start = time.monotonic()
    with _alone():
        with _building():
            build.build(_level(level))
        first = namespaces.first_process()
        if first is None:
            if strangers := namespaces.strangers():
                raise ClusterError(
                    "namespace",
                    f"in network namespace {layout.NAME}, that of a cluster which has ended, "
                    f"still run: {', '.join(strangers)}. End them first",
                )
            if namespaces.is_left():
                say("removing what is left of a cluster that ended by itself")
                namespaces.remove()
            with step(f"namespaces and cgroup {layout.NAME}"):
                first = namespaces.make()
        command = namespaces.inside(
            first, sys.executable, "-m", "tests.cluster", "start", "--level", level
        )
        if (code := subprocess.run(command, check=False).returncode) != 0:
            sys.exit(code)
    say(f"up, level {level}, in {time.monotonic() - start:.1f} s; its logs are in {layout.LOGS}")
    print(_USE)


@main.command()
@click.option("--level", type=_LEVELS, required=True)
def start(level: str) -> None:
    """Within the cluster's namespaces: start what does not run (called by up)."""
    programs, wanted = Programs(), _level(level)
    if wanted >= 4:
        scaling.start_kafka(programs)
    with step(f"etcd, kube-apiserver {layout.KUBERNETES}, kube-controller-manager"):
        certificates.make()
        control_plane.start(programs)
    for manifest in sorted(layout.CRDS.glob("*.yaml")):
        control_plane.apply(manifest.read_text())
    if wanted >= 3:
        node.start(programs)
    if wanted >= 4:
        scaling.start_keda(programs)
    if wanted >= 5:
        knative.start(programs)
    if programs.kept:
        say(f"ran already: {', '.join(programs.kept)}")
    _write_environment()


@main.command()
def down() -> None:
    """End the cluster, and remove everything of it but what was built."""
    if not namespaces.is_left():
        say("there is none")
        return
    namespaces.require()
    with _alone():
        with step("down: no process, mount, namespace, cgroup or file of it is left"):
            namespaces.remove()
        if strangers := namespaces.strangers():
            say(f"its network is kept by what runs in it: {', '.join(strangers)}")


def _level(text: str) -> Level:
    return cast(Level, int(text))


def _write_environment() -> None:
    """Write what in-cluster and load-image read; a shell's syntax."""

    def if_runs(name: str, value: object) -> object:
        # A lower level ends nothing that a higher one has started.
        return value if Process.recorded(layout.RECORDS / name) else ""

    lines = {
        "network": layout.NETWORK,
        "containerd": if_runs("containerd", layout.CONTAINERD),
        "programs": layout.BIN,
        "kubeconfig": layout.KUBECONFIG,
        "kafka": if_runs("kafka", layout.KAFKA),
    }
    text = "".join(f"{key}='{value}'\n" for key, value in lines.items())
    layout.ENVIRONMENT.write_text(text)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep others off this checkout's cluster."""
    with _locked(layout.ENVIRONMENT.with_suffix(".lock")) as free:
        if not free:
            raise ClusterError(
                "busy", "this checkout's cluster is being started or stopped by another"
            )
        yield


@contextlib.contextmanager
def _building() -> Iterator[None]:
    """Wait for others that build in the same folder."""
    with _locked(layout.BUILT / "lock", wait="waiting for another that builds"):
        yield


@contextlib.contextmanager
def _locked(file: Path, wait: str = "") -> Iterator[bool]:
    """Hold a lock on a file; unless `wait`, say whether it could be had at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        free = True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
            if wait:
                say(wait)
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield free


if __name__ == "__main__":
    try:
        main()
    except PacslessError as error:
        print(f"cluster: {error.message}", file=sys.stderr)
        sys.exit(1)

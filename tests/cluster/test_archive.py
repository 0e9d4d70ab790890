"""The whole archive by `helm install`, on a real cluster: nothing that was acknowledged is lost.

The tests build on one another, in the order they stand: one release is installed,
hurt, upgraded, rolled back, removed and installed again.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.acknowledged import (
    Sent,
    everything_is_found,
    not_as_sent,
    read_instance,
    reconciled,
    send,
    under_load,
    until_more_are_stored,
    while_sending,
)
from tests.cluster.kubectl import Cluster, Refused, own_namespace
from tests.cluster.pods import Pods
from tests.cluster.release import Release
from tests.dicom_files import BUNDLED, samples
from tests.eventually import eventually
from tests.instances import write_series, write_studies

# Each ends by its own limits; this one is for who hangs.
pytestmark = pytest.mark.timeout(1200)

_INSTALLED_SECONDS: Final = 90.0
"""From `helm install` to an instance stored and read, if all images are there."""
_READY_SECONDS: Final = 3.0
"""From the start of the gateway's container to its pod's readiness."""
_SCALED_SECONDS: Final = 10.0
"""From the first instance sent to a ready pod of who takes it first, which had none."""
_EVENT_FUNCTIONS: Final = ("extract-tags", "build-metadata", "load-doris", "transcode")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with own_namespace("pacsless-archive", node=True) as one:
        yield one


@pytest.fixture(scope="module")
def release(cluster: Cluster, sent: Sent, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The chart as it comes, and one instance through it, in the time that is promised."""
    one = Release(cluster)
    began = time.monotonic()
    one.install()
    installed = time.monotonic() - began
    one.require_reachable()
    _, paths = write_series(tmp_path_factory.mktemp("first"), 1)
    assert not send(one, sent, paths).failed
    assert not_as_sent(one, sent.files) == []
    took = time.monotonic() - began
    print(f"\nhelm install --wait {installed:.1f} s; stored and read after {took:.1f} s")
    assert took <= _INSTALLED_SECONDS
    return one


def test_helm_test_sends_an_instance_and_reads_it_back(release: Release) -> None:
    assert "Succeeded" in release.helm("test", "pacsless", "--timeout=3m")


def test_what_was_sent_comes_back_byte_for_byte(release: Release, sent: Sent) -> None:
    """From outside the pods, each with the transfer syntax it was sent in."""
    shared = samples(".")
    print(f"\n{len(BUNDLED)} files of pydicom's, {len(shared)} samples")
    summary = send(release, sent, sorted({*BUNDLED.values(), *shared}), jobs=2)
    stored = [one for one in summary.files if one.stored]
    paths = {one.file.path for one in stored}
    refused = [one for one in summary.files if not one.stored]
    print(f"{len(stored)} stored, {len(refused)} refused")
    assert len(paths & set(BUNDLED.values())) >= 35  # many are the same instance
    assert len(paths & set(shared)) >= len(shared) * 0.85
    # There with other content; not as its association said; not to be understood.
    assert {one.status for one in refused} <= {0x0111, 0xA900, 0xC000, None}
    assert all("transfer syntax" in one.detail for one in refused if one.status is None)
    assert not_as_sent(release, stored) == []


def test_a_burst_scales_from_no_pod_to_many_and_back(
    release: Release, sent: Sent, tmp_path: Path
) -> None:
    """By the lag of the topics alone."""
    if not release.cluster.has_kind("scaledobjects.keda.sh"):
        pytest.skip("the cluster has no KEDA: level 4 has it")
    functions = Pods(release.cluster, "app.kubernetes.io/component", frozenset(_EVENT_FUNCTIONS))
    functions.come_to_rest()
    paths = write_studies(tmp_path, 100, 50)
    began = time.monotonic()
    with functions.watched() as seen:
        assert not send(release, sent, paths, jobs=4).failed
        stored = time.monotonic() - began
        everything_is_found(release, sent)
        found = time.monotonic() - began
        functions.come_to_rest()
        rest = time.monotonic() - began
    ready = {one: round(at - began, 1) for one, at in seen.ready.items()}
    print(
        f"\n{len(paths)} instances: stored after {stored:.1f} s, found after {found:.1f} s, no pod "
        f"after {rest:.1f} s; a pod ready after {ready} s; pods at most: {dict(seen.most)}"
    )
    # What comes first has all of the burst, and the others what it hands on in their time.
    assert seen.most["extract-tags"] > 1
    assert ready.keys() >= {"extract-tags", "load-doris", "build-metadata"}
    assert ready["extract-tags"] <= _SCALED_SECONDS
    reconciled(release)


def test_a_gateway_is_ready_soon(release: Release) -> None:
    (before,) = release.pods("gateway")
    release.cluster.kubectl("delete", "pod", before)

    def container() -> dict[str, Any]:
        (pod,) = release.pods("gateway") or [""]
        assert pod, "none yet"
        status = release.cluster.get("pod", pod)["status"]
        found = {one["name"]: one for one in status.get("containerStatuses", ())}
        told: dict[str, Any] = found.get("scp-gateway", {"state": {}})
        assert "running" in told["state"], "not started yet"
        return told

    eventually(container, within=120)
    began = time.monotonic()
    eventually(lambda: container()["ready"], within=120)
    took = time.monotonic() - began
    print(f"\nthe gateway was ready {took:.1f} s after its container had started")
    assert took <= _READY_SECONDS


def test_pods_that_are_killed_lose_nothing(release: Release, sent: Sent, tmp_path: Path) -> None:
    """By the cluster, without grace, and by a signal to what runs in them."""
    chosen = random.Random(7)
    stop = threading.Event()
    killed: Counter[str] = Counter()

    def _pods(component: str) -> list[str]:
        try:
            return release.pods(component)
        except Refused:
            return []  # the API server has much to do

    def kill() -> None:
        components = ["gateway", "nginx", "wado-rs", "qido-rs", "redis", *_EVENT_FUNCTIONS]
        for component in itertools.cycle(components):
            for pod in _pods(component)[:1]:
                if component == "redis" or chosen.random() < 0.5:
                    arguments = ["delete", "pod", pod, "--force", "--grace-period=0"]
                else:
                    # All but the first process, which no SIGKILL from inside reaches.
                    script = "import os, signal; os.kill(-1, signal.SIGKILL)"
                    program = ["python3.11", "-c", script]
                    if component == "nginx":
                        program = ["sh", "-c", "kill -9 -1"]
                    arguments = [
                        "exec",
                        pod,
                        f"--container={_container(component)}",
                        "--",
                        *program,
                    ]
                try:
                    release.cluster.kubectl(*arguments)
                except Refused as refused:
                    if "137" not in str(refused):  # the program ended with what it killed
                        continue  # the pod was gone
                killed[component] += 1
            if stop.wait(0.2):
                return

    with (
        ThreadPoolExecutor(1) as pool,
        under_load(release, sent, tmp_path, series=60, instances=50) as running,
    ):
        killing = pool.submit(kill)
        while running():
            time.sleep(0.2)
        stop.set()
        killing.result()
    print(f"\nkilled {dict(killed)}")
    assert killed.keys() >= {"gateway", "nginx", "wado-rs", "qido-rs", "redis"}
    everything_is_found(release, sent)
    reconciled(release)


def _container(component: str) -> str:
    return "scp-gateway" if component == "gateway" else component


def test_an_upgrade_under_load_fails_no_c_store(
    release: Release, sent: Sent, tmp_path: Path
) -> None:
    before = _uids(release)
    with while_sending(release, sent, tmp_path) as stored:
        until_more_are_stored(stored)
        began = stored()
        release.upgrade("logLevel=DEBUG")
        during = stored() - began
        until_more_are_stored(stored)
    print(f"\n{during} instances stored during the upgrade")
    assert during
    assert not before & _uids(release)
    everything_is_found(release, sent)


def _uids(release: Release) -> set[str]:
    components = ("gateway", "nginx", "wado-rs")
    return {uid for one in components for uid in release.uids(one)}


def test_a_rollback_takes_the_upgrade_back(release: Release, sent: Sent) -> None:
    release.helm("rollback", "pacsless", "1", "--wait", "--timeout=5m")
    history = json.loads(release.helm("history", "pacsless", "--output=json"))
    assert [one["status"] for one in history] == ["superseded", "superseded", "deployed"]
    everything_is_found(release, sent)


def test_an_image_that_is_not_there_leaves_what_runs(release: Release, sent: Sent) -> None:
    with pytest.raises(Refused):
        release.helm(
            "upgrade", "pacsless", str(Path(__file__).parents[2] / "charts" / "pacsless"),
            "--set=profile=local", "--set=image.tag=0.0.0-none", "--wait", "--timeout=20s",
        )  # fmt: skip
    assert read_instance(release, sent.files[0])
    release.helm("rollback", "pacsless", "--wait", "--timeout=5m")
    everything_is_found(release, sent)


def test_uninstalled_only_the_data_is_left_and_an_install_finds_it(
    release: Release, sent: Sent
) -> None:
    cluster = release.cluster
    release.helm("uninstall", "pacsless", "--wait", "--timeout=5m")
    ours = "--selector=app.kubernetes.io/instance=pacsless"
    kinds = "all,configmaps,ingresses,networkpolicies,serviceaccounts,cronjobs"

    def nothing_else_is_left() -> bool:
        left = json.loads(cluster.kubectl("get", kinds, ours, "-ojson"))["items"]
        names = {str(one["metadata"]["name"]) for one in left}
        assert names <= {"pacsless-check"}, names  # the last test's pod, which Helm lets be
        return True

    # Pods are let finish what is in hand.
    eventually(nothing_else_is_left, within=300)
    kept = json.loads(cluster.kubectl("get", "pvc", ours, "-ojson"))["items"]
    assert {one["metadata"]["name"] for one in kept} >= {"pacsless-archive"}
    release.install()
    everything_is_found(release, sent)
    assert not_as_sent(release, sent.files[:20]) == []

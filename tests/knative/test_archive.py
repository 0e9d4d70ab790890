"""The archive in mode knative: from zero by an event, to many in a burst, back to zero; and
however its events are delivered, none is lost and none has its effect twice.

The tests build on one another, in the order they stand: one release is installed, fed by
our trigger and by a KafkaSource, then by KafkaSources alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.acknowledged import (
    Sent,
    everything_is_found,
    not_as_sent,
    send,
)
from tests.cluster.kubectl import Cluster, own_namespace
from tests.cluster.pods import Pods
from tests.cluster.release import NAME, Release
from tests.eventually import eventually
from tests.knative.checks import (
    converted,
    letters,
    nothing_is_lost_or_doubled,
    pacsless,
    poison,
    series,
)
from tests.knative.sources import Dispatcher

_FUNCTIONS: Final = ("extract-tags", "build-metadata", "load-doris", "transcode")
_SERVICES: Final = frozenset(f"{NAME}-{one}" for one in _FUNCTIONS)
_MODE: Final = ("trigger.mode=knative", "knative.scaleDownDelaySeconds=2")
_SOURCES: Final = (*_MODE, "functionDefaults.delivery=kafkasource")
_MOST: Final = 4
"""Partitions of a topic in the profile, and so the most pods of a function."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with own_namespace("pacsless-knative") as one:
        if not one.has_kind("services.serving.knative.dev"):
            pytest.skip("the cluster has no Knative Serving: level 5 has it")
        yield one
        # Whose pods are not asked again would come back.
        one.kubectl("delete", "ksvc", "--all")


@pytest.fixture(scope="module")
def sent() -> Sent:
    return Sent()


@pytest.fixture(scope="module")
def release(cluster: Cluster) -> Release:
    """The chart in mode knative: a KafkaSource where batches have one event, triggers else."""
    one = Release(cluster)
    began = time.monotonic()
    one.install(*_MODE)
    print(f"\nhelm install --wait {time.monotonic() - began:.1f} s")
    one.require_reachable()
    return one


@pytest.fixture(scope="module")
def functions(release: Release) -> Pods:
    return Pods(release.cluster, "serving.knative.dev/service", _SERVICES)


@pytest.fixture(scope="module")
def dispatcher(release: Release) -> Dispatcher:
    """For the sources that the release has."""
    deployment = release.cluster.get("deployment", f"{NAME}-reconcile")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    one = Dispatcher(release.cluster, image)
    one.start()
    return one


def test_a_study_is_viewable_though_no_function_had_a_pod(
    release: Release, sent: Sent, functions: Pods, dispatcher: Dispatcher, tmp_path: Path
) -> None:
    functions.come_to_rest()
    services = release.cluster.get("ksvc")["items"]
    assert {one["metadata"]["name"] for one in services} == _SERVICES
    paths = series(tmp_path, 1, 2) + series(tmp_path, 1, 2, deflated=True)
    began = time.monotonic()
    with functions.watched() as seen:
        assert not send(release, sent, paths).failed
        # By its address it can be read at once, whether or not anybody knows of it yet.
        assert not_as_sent(release, sent.files[:1]) == []
        everything_is_found(release, sent)
        found = time.monotonic() - began
        eventually(lambda: converted(release, sent), within=120)
    print(f"\nfound {found:.1f} s after it was sent, with its metadata")
    print(f"pods at most: {dict(seen.most)}")
    assert set(seen.most) == _SERVICES
    assert len(sent.files) == len(paths)
    assert not_as_sent(release, sent.files) == []


def test_a_burst_has_many_pods_and_the_silence_after_it_none(
    release: Release, sent: Sent, functions: Pods, dispatcher: Dispatcher, tmp_path: Path
) -> None:
    functions.come_to_rest()
    paths = series(tmp_path, 30, 10) + series(tmp_path, 20, 10, deflated=True)
    began = time.monotonic()
    with functions.watched() as seen:
        assert not send(release, sent, paths).failed
        stored = time.monotonic() - began
        nothing_is_lost_or_doubled(release, sent)
        done = time.monotonic() - began
    functions.come_to_rest()
    rest = time.monotonic() - began
    print(
        f"\n{len(paths)} instances: stored after {stored:.1f} s, all agrees after {done:.1f} s, "
        f"no pod after {rest:.1f} s; pods at most: {dict(seen.most)}"
    )
    assert max(seen.most.values()) == _MOST
    assert all(seen.most[one] <= _MOST for one in _SERVICES)
    assert not letters(release)


def test_a_timer_is_called_where_its_ping_source_says(release: Release) -> None:
    (source,) = release.cluster.get("pingsources")["items"]
    url = source["spec"]["sink"]["uri"]
    # The event that a PingSource sends is the one that this command sends.
    pacsless(release, "timer", "--once", "reconcile", "--url", url)


def test_events_twice_and_in_any_order_have_their_effect_once(
    release: Release, sent: Sent, functions: Pods, dispatcher: Dispatcher, tmp_path: Path
) -> None:
    """By KafkaSources alone, whose dispatcher crashes, with functions killed under it."""
    dispatcher.stop()
    release.upgrade(*_SOURCES, "knative.delivery.backoffDelay=PT0.2S")
    left = json.loads(release.cluster.kubectl("get", "deployments", "-ojson"))["items"]
    assert not [one for one in left if one["metadata"]["name"].endswith("-trigger")]
    dispatcher.start(again=0.3, shuffle=True, ordering="unordered")
    paths = series(tmp_path, 15, 6) + series(tmp_path, 5, 6, deflated=True)
    began = time.monotonic()
    with functions.watched() as seen, ThreadPoolExecutor(1) as pool:
        assert not send(release, sent, paths[::2]).failed
        eventually(lambda: dispatcher.count("delivered") >= 20)
        _kill(release, "postgres")
        _scale_postgres(release, 0)
        sending = pool.submit(send, release, sent, paths[1::2])
        eventually(lambda: dispatcher.count("tried again"))
        _scale_postgres(release, 1)
        for name in _FUNCTIONS:
            _kill(release, name)
        dispatcher.crash()
        assert not sending.result().failed
        eventually(lambda: dispatcher.count("delivered") >= len(paths))
        dispatcher.crash()
        nothing_is_lost_or_doubled(release, sent)
    told = dispatcher.counts()
    print(f"\nall agrees after {time.monotonic() - began:.1f} s: {dict(sorted(told.items()))}")
    print(f"pods at most: {dict(seen.most)}")
    assert not dispatcher.count("lost")
    assert not dispatcher.count("broken")
    assert not dispatcher.count("buried")
    assert not letters(release)


def _scale_postgres(release: Release, replicas: int) -> None:
    postgres = f"statefulset/{NAME}-postgres"
    release.cluster.kubectl("scale", postgres, f"--replicas={replicas}")
    if replicas:
        release.cluster.kubectl("rollout", "status", postgres, "--timeout=120s")
    else:
        release.cluster.kubectl("wait", f"pod/{NAME}-postgres-0", "--for=delete", "--timeout=120s")


def _kill(release: Release, component: str) -> None:
    """Kill a pod of it as soon as there is one."""

    def killed() -> bool:
        found = release.pods(component)
        assert found, f"no pod of {component}"
        release.cluster.kubectl(
            "delete", "pod", found[0], "--force", "--grace-period=0", "--ignore-not-found"
        )
        return True

    eventually(killed, within=120)


def test_what_cannot_be_taken_is_buried_and_holds_up_nobody(
    release: Release, sent: Sent, dispatcher: Dispatcher, tmp_path: Path
) -> None:
    """An event that never will be is; one whose store is down too long is, and comes back."""
    dispatcher.stop()
    release.upgrade(*_SOURCES, "knative.delivery.backoffDelay=PT0.2S", "knative.delivery.retry=2")
    dispatcher.start()
    poison(release)
    for one in eventually(lambda: letters(release), within=120):
        assert (one["topic"], one["code"], one["tenant"]) == ("storage_queue", "http-422", "")
    pacsless(release, "dlq", "drop", "--all", "--yes")

    _scale_postgres(release, 0)
    paths = series(tmp_path, 3, 5) + series(tmp_path, 1, 5, deflated=True)
    assert not send(release, sent, paths).failed
    subjects = {
        f"studies/{one.study_instance_uid}/series/{one.series_instance_uid}"
        f"/instances/{one.sop_instance_uid}"
        for one in (each.file for each in sent.files)
    }

    def all_are_buried() -> bool:
        found = {one["subject"]: one["code"] for one in letters(release)}
        codes = {found[one] for one in subjects & found.keys()}
        assert len(subjects & found.keys()) == len(paths), (len(found), len(paths))
        # By the function itself, which ran: nobody has waited for it until time was up.
        assert codes == {"http-503"}
        return True

    eventually(all_are_buried, within=240)
    _scale_postgres(release, 1)

    def none_is_left() -> bool:
        # Of the poison, too, one may come late.
        pacsless(release, "dlq", "drop", "--code", "http-422", "--yes")
        pacsless(release, "dlq", "redrive", "--all")
        return not letters(release)

    eventually(none_is_left, within=240)
    nothing_is_lost_or_doubled(release, sent)
    print(f"\n{dict(sorted(dispatcher.counts().items()))}")
    assert not letters(release)
    assert not dispatcher.count("lost")
    assert not dispatcher.count("broken")


def test_at_rest_again(functions: Pods) -> None:
    functions.come_to_rest()

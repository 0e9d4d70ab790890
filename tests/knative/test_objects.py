"""What the chart renders for Knative is taken by an API server that knows its definitions."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.kubectl import Cluster, Manifest, Refused, own_namespace, run
from tests.cluster.release import CHART, NAME

_KINDS = {"Service": 4, "KafkaSource": 8, "KafkaSink": 8, "PingSource": 1}
"""With a KafkaSource for every topic that a function reads."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with own_namespace("pacsless-objects") as one:
        if not one.has_kind("kafkasources.sources.knative.dev"):
            pytest.skip("the cluster has no KafkaSource: level 5 has its definition")
        yield one


@pytest.fixture(scope="module")
def manifests(cluster: Cluster) -> list[Manifest]:
    """All of Knative's that the chart can render."""
    told = run(
        "helm", "template", NAME, CHART, f"--namespace={cluster.namespace}", "--set=profile=local",
        "--set=trigger.mode=knative", "--set=functionDefaults.delivery=kafkasource",
    )  # fmt: skip
    found = [one for one in yaml.safe_load_all(told) if one]
    return [one for one in found if "knative.dev" in one["apiVersion"]]


def test_all_of_it_is_taken(cluster: Cluster, manifests: list[Manifest]) -> None:
    assert Counter(one["kind"] for one in manifests) == _KINDS
    for one in manifests:
        cluster.apply(one, server_only=True)


def _a(kind: str, manifests: list[Manifest]) -> Manifest:
    return copy.deepcopy(next(one for one in manifests if one["kind"] == kind))


def _misspelt_retry(spec: dict[str, Any]) -> None:
    spec["delivery"]["retrry"] = spec["delivery"].pop("retry")


def _no_topics(spec: dict[str, Any]) -> None:
    del spec["topics"]


def _retry_in_words(spec: dict[str, Any]) -> None:
    spec["delivery"]["retry"] = "twelve"


def _no_servers(spec: dict[str, Any]) -> None:
    del spec["bootstrapServers"]


def _misspelt_schedule(spec: dict[str, Any]) -> None:
    spec["schedul"] = spec.pop("schedule")


def _misspelt_concurrency(spec: dict[str, Any]) -> None:
    spec["template"]["spec"]["containerConcurency"] = 1


def _too_long(spec: dict[str, Any]) -> None:
    spec["template"]["spec"]["timeoutSeconds"] = 3600


@pytest.mark.parametrize(
    ("kind", "wrong", "told"),
    [
        ("KafkaSource", _misspelt_retry, r'unknown field "spec\.delivery\.retrry"'),
        ("KafkaSource", _no_topics, r"spec\.topics: Required value"),
        ("KafkaSource", _retry_in_words, r"spec\.delivery\.retry: Invalid value"),
        ("KafkaSink", _no_servers, r"spec\.bootstrapServers: Required value"),
        ("PingSource", _misspelt_schedule, r'unknown field "spec\.schedul"'),
        ("Service", _misspelt_concurrency, r"containerConcurency"),
        ("Service", _too_long, r"expected 0 <= 3600 <= 600: spec\.template\.spec\.timeoutSeconds"),
    ],
)
def test_what_is_wrong_is_refused(
    cluster: Cluster,
    manifests: list[Manifest],
    kind: str,
    wrong: Callable[[dict[str, Any]], None],
    told: str,
) -> None:
    one = _a(kind, manifests)
    wrong(one["spec"])
    with pytest.raises(Refused, match=told):
        cluster.apply(one, server_only=True)

"""What goes wrong at an install and later: told by name, mended by an upgrade, nothing lost.

The tests build on one another, in the order they stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.acknowledged import Sent, everything_is_found, reconciled, send
from tests.cluster.kubectl import Cluster, Refused, own_namespace
from tests.cluster.release import Release
from tests.eventually import eventually
from tests.instances import write_series

# Each ends by its own limits; this one is for who hangs.
pytestmark = pytest.mark.timeout(1200)

_PASSWORD: Final = "correct-horse"
_NOWHERE: Final = "nowhere.invalid"
"""RFC 6761 §6.4: a name that never is one."""
_STORES: Final = {
    "kafka": ("kafka.source=external", f"kafka.bootstrapServers={{{_NOWHERE}:9092}}"),
    "postgres": ("postgres.source=external", "postgres.existingSecret=postgres-away"),
    "doris": (
        "doris.source=external",
        f"doris.frontEnd=http://{_NOWHERE}:8030",
        f"doris.mysql={_NOWHERE}:9030",
        f"doris.redirectHosts={{{_NOWHERE}:8040}}",
        "doris.existingSecret=doris-away",
    ),
}


@pytest.fixture(scope="module")
def release() -> Iterator[Release]:
    with own_namespace("pacsless-mistakes", node=True) as cluster:
        yield Release(cluster)


def _said(cluster: Cluster) -> str:
    """What the containers that wait for stores say, of whatever installation."""
    selector = "--selector=app.kubernetes.io/component=setup"
    return cluster.kubectl("logs", selector, "--container=wait-for", "--tail=-1")


def test_a_secret_that_is_not_there_is_named(release: Release) -> None:
    with pytest.raises(Refused):
        release.install(*_STORES["postgres"], timeout="15s")

    def told() -> bool:
        events = release.cluster.get("events")["items"]
        messages = {str(one["message"]) for one in events}
        assert any("postgres-away" in one and "not found" in one for one in messages), messages
        return True

    eventually(told, within=120)


def test_stores_that_are_not_there_are_named_and_their_passwords_are_not(release: Release) -> None:
    url = f"postgresql://pacsless:{_PASSWORD}@{_NOWHERE}:5432/pacsless"
    for name, key, value in (("postgres", "url", url), ("doris", "password", _PASSWORD)):
        release.cluster.kubectl(
            "create", "secret", "generic", f"{name}-away", f"--from-literal={key}={value}"
        )
    with pytest.raises(Refused):
        release.upgrade(*(one for values in _STORES.values() for one in values), timeout="30s")

    def told() -> bool:
        said = _said(release.cluster)
        for store, address in (("kafka", 9092), ("postgres", 5432), ("doris", 8030)):
            assert f"waiting for {store}: " in said
            assert f"{_NOWHERE}:{address}" in said
        assert _PASSWORD not in said
        return True

    eventually(told, within=120)


def test_an_upgrade_with_the_right_addresses_mends_it(
    release: Release, sent: Sent, tmp_path: Path
) -> None:
    release.upgrade()
    release.require_reachable()
    assert not send(release, sent, write_series(tmp_path, 10)[1]).failed
    everything_is_found(release, sent)


@pytest.mark.parametrize("store", ["kafka", "postgres", "warehouse", "redis"])
def test_a_store_that_goes_away_later_costs_nothing_that_was_acknowledged(
    release: Release, sent: Sent, tmp_path: Path, store: str
) -> None:
    cluster = release.cluster
    stateful = f"statefulset/pacsless-{store}"
    cluster.kubectl("scale", stateful, "--replicas=0")
    cluster.kubectl("wait", f"pod/pacsless-{store}-0", "--for=delete", "--timeout=240s")
    assert not send(release, sent, write_series(tmp_path, 10)[1]).failed
    cluster.kubectl("scale", stateful, "--replicas=1")
    everything_is_found(release, sent)


def test_everything_agrees_at_the_end(release: Release) -> None:
    reconciled(release)
    told = release.cluster.kubectl(
        "exec", "deployment/pacsless-reconcile", "--",
        "python3.11", "-m", "pacsless", "dlq", "list", "--each", "--json",
    )  # fmt: skip
    assert json.loads(told)["dead_letters"] == []

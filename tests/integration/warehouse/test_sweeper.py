"""Turns of the timer: a rebuild goes on, each tenant has its part, none is swept twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from pacsless.archive import ArchiveUnavailable
from pacsless.errors import Unavailable
from pacsless.reconcile import command
from pacsless.reconcile.position import alone
from pacsless.reconcile.rebuild import PARTS
from pacsless.reconcile.task import Sweeper
from tests.site import Site


def sweeper(site: Site, **settings: Any) -> Sweeper:
    chosen = replace(site.settings, **settings)
    return Sweeper(chosen, site.places, site.pipeline, site.backlog)


def test_a_turn_mends_what_has_drifted_of_every_tenant(site: Site, neighbour: Site) -> None:
    stored, theirs = site.fill(), neighbour.fill()
    site.forget_warehouse()
    age(site, neighbour)
    before = neighbour.snapshot()
    # Only these: other tests' tenants lie in other archives.
    first, second = sweeper(site, reconcile_scrub="all").turn([site.tenant, neighbour.tenant])
    assert first["drift"]["warehouse-lacks"]["count"] > 0 and first["left"] == 0
    assert (first["scrubbed"], second["scrubbed"]) == (len(stored), len(theirs))
    assert second["drift"] == {}
    assert neighbour.snapshot() == before
    assert site.reconcile().drift == {}


def age(*sites: Site) -> None:
    """Make what was indexed just now look settled."""
    for one in sites:
        one.sql("UPDATE series SET updated_at = updated_at - interval '1 hour'"
                " WHERE tenant_id = :tenant")  # fmt: skip


def test_a_turn_that_only_reports_announces_nothing(site: Site) -> None:
    site.fill()
    age(site)
    site.forget_warehouse()
    told = len(site.pipeline.published)
    (report,) = sweeper(site, reconcile_repair=False).turn([site.tenant])
    assert report["left"] > 0 and len(site.pipeline.published) == told


def test_a_turn_goes_on_with_an_unfinished_rebuild(site: Site) -> None:
    site.fill(instances=1, studies=3)
    before = site.snapshot()
    site.forget_index()

    def down(_so_far: Any) -> None:
        raise Unavailable("postgres", "gone")

    with pytest.raises(Unavailable):
        site.rebuild.run(site.tenant, PARTS, say=down)
    assert site.snapshot() != before
    (report,) = sweeper(site, reconcile_seconds=0).turn([site.tenant])
    assert report == {"tenant": site.tenant, "rebuilt": 0, "finished": False}
    (report,) = sweeper(site).turn([site.tenant])
    assert report == {"tenant": site.tenant, "rebuilt": 6, "finished": True}
    assert site.snapshot() == before


def test_a_tenant_that_is_being_swept_is_left_alone(site: Site, neighbour: Site) -> None:
    with alone(site.database, site.tenant):
        first, second = sweeper(site).turn([site.tenant, neighbour.tenant])
    assert first == {"tenant": site.tenant, "busy": True}
    assert second["finished"]


def test_a_tenant_that_cannot_be_swept_keeps_no_other_from_it(
    site: Site, neighbour: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbour.fill()
    neighbour.forget_warehouse()
    age(neighbour)
    listed = site.archive.list

    def fails(prefix: str) -> Any:
        if prefix.startswith(site.tenant):
            raise ArchiveUnavailable("archive", "cannot list a folder")
        return listed(prefix)

    site.fill()
    monkeypatch.setattr(site.archive, "list", fails)
    with pytest.raises(ArchiveUnavailable, match="list a folder"):
        sweeper(site).turn([site.tenant, neighbour.tenant])
    assert neighbour.reconcile().drift == {}


@contextmanager
def as_command(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    monkeypatch.setattr(command, "_sweeper", lambda: nullcontext(sweeper(site)))
    yield CliRunner()


def test_the_command_tells_of_each_tenant_it_could_look_at(
    site: Site, neighbour: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.fill()
    neighbour.fill()
    names = [site.tenant, neighbour.tenant, site.tenant]
    monkeypatch.setattr(command, "tenants", lambda _places: names)
    with as_command(site, monkeypatch) as runner, alone(site.database, neighbour.tenant):
        told = runner.invoke(command.reconcile, [])
        as_json = runner.invoke(command.reconcile, ["--json"])
    assert told.exit_code == as_json.exit_code == 2
    assert told.stdout.count(f"{site.tenant}: 1 studies") == 2
    assert f"pacsless: {neighbour.tenant}: another rebuild" in told.stderr
    assert [one["tenant"] for one in json.loads(as_json.stdout)] == [site.tenant] * 2


def test_tenants_are_those_with_files_or_rows(site: Site, neighbour: Site) -> None:
    from pacsless.reconcile.reconcile import tenants

    site.add(1)
    neighbour.fill()
    (neighbour.folder / neighbour.tenant).rename(neighbour.folder / "quarantine")
    found = set(tenants(site.places))
    assert {site.tenant, neighbour.tenant} <= found
    assert found.isdisjoint({"quarantine", "metadata"})


def test_a_warehouse_that_does_not_answer_is_unavailable(site: Site) -> None:
    from pacsless.reconcile.look import Places
    from pacsless.reconcile.warehouse import WarehouseRows
    from pacsless.warehouse_sql import WarehouseSql
    from tests.ports import free_ports

    (nobody,) = free_ports(1)
    rows = WarehouseRows(WarehouseSql(f"127.0.0.1:{nobody}"))
    places = Places(site.archive, site.database, rows)
    with pytest.raises(Unavailable, match="PACSLESS_DORIS_MYSQL"):
        Sweeper(site.settings, places, site.pipeline, site.backlog).turn([site.tenant])

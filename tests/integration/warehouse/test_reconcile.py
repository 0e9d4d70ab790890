"""Every kind of drift is found, and mended where files say how."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacsless.archive import ArchiveUnavailable
from pacsless.changes import read
from pacsless.errors import Busy
from pacsless.events import InstanceStored
from pacsless.identity import study_metadata_key
from pacsless.reconcile import files, ledger
from pacsless.reconcile.position import alone
from tests.site import Site

Stored = list[InstanceStored]


def kinds(report: Any) -> set[str]:
    return set(report.drift)


def series_key(event: InstanceStored) -> str:
    return f"metadata/{event.identity.series.folder}.json"


def file_nobody_told_of(site: Site, stored: Stored) -> None:
    site.add(2, stored[0].study_instance_uid, stored[0].series_instance_uid)


def index_lost(site: Site, stored: Stored) -> None:
    site.forget_index()


def row_lost(site: Site, stored: Stored) -> None:
    sop = stored[0].sop_instance_uid
    site.sql("DELETE FROM instance WHERE tenant_id = :tenant AND sop_instance_uid = :sop", sop=sop)


def document_lost(site: Site, stored: Stored) -> None:
    site.archive.remove(series_key(stored[0]))


def document_of_the_study_lost(site: Site, stored: Stored) -> None:
    site.archive.remove(study_metadata_key(site.tenant, stored[0].study_instance_uid))


def document_without_an_instance(site: Site, stored: Stored) -> None:
    path = site.folder / series_key(stored[0])
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(lines[:-2]) + b"\n]")


def document_damaged(site: Site, stored: Stored) -> None:
    path = site.folder / series_key(stored[0])
    path.write_bytes(path.read_bytes().replace(b'"00080018"', b'"0008001', 1))


def compressed_document_of_before(site: Site, stored: Stored) -> None:
    (site.folder / f"{series_key(stored[0])}.gz").write_bytes(b"not gzip")


def document_of_before(site: Site, stored: Stored) -> None:
    site.sql("UPDATE metadata_document SET revision = 1 WHERE tenant_id = :tenant")


def warehouse_lost(site: Site, stored: Stored) -> None:
    site.forget_warehouse()


def image_lost(site: Site, stored: Stored) -> None:
    statement = "DELETE FROM pacsless.dicom_image_meta WHERE sop_instance_uid = ?"
    site.duck(statement, stored[1].sop_instance_uid)


def state_lost(site: Site, stored: Stored) -> None:
    statement = "DELETE FROM pacsless.dicom_state_meta WHERE tenant_id = ? AND event_seq > 0"
    site.duck(statement, site.tenant)


def warehouse_ahead(site: Site, stored: Stored) -> None:
    """As after an index that was lost and filled again from 1."""
    for table in ("instance", "series"):
        site.sql(f"UPDATE {table} SET revision = 1 WHERE tenant_id = :tenant")


MENDED: dict[Callable[[Site, Stored], None], set[str]] = {
    file_nobody_told_of: {"file-without-row", "document-differs"},
    index_lost: {"file-without-row", "warehouse-surplus"},
    row_lost: {"file-without-row", "warehouse-surplus"},
    document_lost: {"document-differs"},
    document_of_the_study_lost: {"document-differs"},
    document_without_an_instance: {"document-differs"},
    document_damaged: {"document-differs"},
    compressed_document_of_before: {"document-differs"},
    document_of_before: {"document-lags"},
    warehouse_lost: {"warehouse-lacks"},
    image_lost: {"warehouse-lacks"},
    state_lost: {"warehouse-lacks"},
    warehouse_ahead: {"warehouse-ahead"},
}


@pytest.mark.parametrize("harm", MENDED, ids=lambda harm: harm.__name__)
def test_drift_is_found_and_mended(site: Site, neighbour: Site, harm: Any) -> None:
    stored = site.fill()
    neighbour.fill()
    assert kinds(site.reconcile()) == set(), "what the functions made is no drift"
    before, theirs = site.snapshot(), neighbour.snapshot()
    harm(site, stored)
    assert kinds(site.reconcile()) == MENDED[harm]
    site.reconcile(repair=True)
    after = site.reconcile()
    assert kinds(after) == set(), after
    if harm is not file_nobody_told_of:
        assert site.snapshot() == before
    assert neighbour.snapshot() == theirs
    assert kinds(neighbour.reconcile()) == set()


def flipped_byte(site: Site, path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncated(site: Site, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def removed(site: Site, path: Path) -> None:
    path.unlink()


def stray(site: Site, path: Path) -> None:
    path.with_name("Doe^Jane.txt").write_bytes(b"?")


ALARMS: dict[Callable[[Site, Path], None], set[str]] = {
    flipped_byte: {"other-digest"},
    truncated: {"other-size", "other-digest"},
    # What is derived from the file that is gone still speaks of it.
    removed: {"row-without-file"},
    stray: {"stray-file"},
}


@pytest.mark.parametrize("harm", ALARMS, ids=lambda harm: harm.__name__)
def test_what_only_a_person_can_mend_is_an_alarm(site: Site, neighbour: Site, harm: Any) -> None:
    stored = site.fill()
    neighbour.fill()
    path = site.folder / stored[0].file_path
    harm(site, path)
    originals = {one: one.read_bytes() for one in site.folder.glob(f"{site.tenant}/*/*/*")}
    rows = site.sql("SELECT count(*) FROM instance WHERE tenant_id = :tenant")
    for _ in range(2):
        report = site.reconcile(repair=True, share=1.0)
        assert kinds(report) - {"document-differs"} == ALARMS[harm]
        assert report.left == len(ALARMS[harm])
        assert report.scrubbed >= len(stored) - 1
        told = json.dumps(report.as_dict())
        assert "Doe" not in told and "default" not in told
    assert {one: one.read_bytes() for one in site.folder.glob(f"{site.tenant}/*/*/*")} == originals
    assert site.sql("SELECT count(*) FROM instance WHERE tenant_id = :tenant") == rows
    assert kinds(neighbour.reconcile(share=1.0)) == set()


def test_a_file_that_has_changed_is_never_taken_for_right(site: Site) -> None:
    stored = site.fill()
    flipped_byte(site, site.folder / stored[0].file_path)
    ledger_of = "SELECT sop_instance_uid, sha256 FROM instance WHERE tenant_id = :tenant ORDER BY 1"
    before = site.sql(ledger_of)
    site.forget_warehouse()
    report = site.reconcile(repair=True)
    assert report.drift["other-digest"].count == 1
    assert report.left == 2, "its alarm, and its row of the warehouse"
    done = site.rebuild.run(site.tenant, ["index", "warehouse"])
    assert done.altered == [stored[0].file_path] and done.altered_count == 1
    assert done.instances == len(stored) - 1
    assert site.sql(ledger_of) == before


def test_a_file_nobody_can_read_is_an_alarm_and_makes_one_dead_letter(site: Site) -> None:
    site.fill()
    poison, junk = site.add(1), site.add(1)
    # Its identifiers can be found, the rest cannot be walked; and one without any.
    path = site.folder / poison[0].file_path
    path.write_bytes(path.read_bytes() + b"\xe0\x7f\x10\x00OW\0\0\xff\xff\xff\x7f")
    (site.folder / junk[0].file_path).write_bytes(b"no DICOM")
    first = site.reconcile(repair=True)
    assert kinds(first) == {"file-without-row", "file-unreadable"}
    for _ in range(3):
        again = site.reconcile(repair=True)
        assert kinds(again) == {"file-unreadable"}
        assert again.left == 1
    announced = [one for one in site.pipeline.published if one.study_instance_uid
                 in (poison[0].study_instance_uid, junk[0].study_instance_uid)]  # fmt: skip
    assert len(announced) == 1, "not again in every sweep"


def test_a_file_the_disk_does_not_give_is_an_alarm_and_stops_nothing(site: Site) -> None:
    stored = site.fill(studies=2)
    (new,) = site.add(1)
    site.break_file(stored[0].file_path, at_open=True)
    site.break_file(stored[4].file_path)
    site.break_file(new.file_path)
    report = site.reconcile(repair=True, share=1.0)
    assert report.finished and report.scrubbed == len(stored) - 2
    assert kinds(report) == {"file-unreadable"}
    assert report.drift["file-unreadable"].count == report.left == 3
    done = site.rebuild.run(site.tenant, ["index"])
    assert (done.finished, done.unreadable_count) == (True, 3)
    assert done.instances == len(stored) - 2


def test_an_archive_that_is_gone_has_no_unreadable_files(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = site.fill()

    def gone(*_: object) -> Any:
        raise ArchiveUnavailable("archive", "gone")

    for name in ("open", "folders"):
        monkeypatch.setattr(site.archive, name, gone)
    with pytest.raises(ArchiveUnavailable):
        files.digest_of(site.archive, stored[0].file_path)


def test_an_instance_that_has_just_come_is_no_drift(site: Site) -> None:
    stored = site.add(2)
    for one in stored:
        # Received over an hour: its time is that of its beginning.
        os.utime(site.folder / one.file_path, (time.time() - 3600,) * 2)
    from pacsless.reconcile.reconcile import Reconcile

    assert Reconcile(site.places, settle=60).run(site.tenant).drift == {}
    site.pipeline.publish(stored, "/tests")
    site.forget_warehouse()
    assert Reconcile(site.places, settle=60).run(site.tenant).drift == {}
    assert kinds(site.reconcile()) == {"warehouse-lacks"}


def test_what_was_renumbered_is_current_in_the_change_feed(site: Site) -> None:
    stored = site.fill()
    ledger.renumber(site.database, site.tenant, stored[0].study_instance_uid)
    entries = read(site.database, site.tenant, 0, 200)
    last = {one.sop_instance_uid: one for one in entries}
    assert set(last) == {one.sop_instance_uid for one in stored}
    assert {(one.action, one.state) for one in last.values()} == {("update", "current")}


def test_a_scrub_goes_on_where_it_stopped(site: Site) -> None:
    stored = site.fill(instances=1, studies=4)
    assert len({one.study_instance_uid for one in stored}) == 4
    last = max(stored, key=lambda one: one.study_instance_uid)
    flipped_byte(site, site.folder / last.file_path)
    found = [kinds(site.reconcile(share=0.25)) for _ in range(5)]
    assert found == [set(), set(), set(), {"other-digest"}, set()]


def test_a_run_that_is_out_of_time_is_gone_on_with(site: Site) -> None:
    from pacsless.reconcile.reconcile import Reconcile

    site.fill(instances=1, studies=3)
    seen: list[int] = []
    first = Reconcile(site.places, settle=0).run(site.tenant, until=0)
    assert (first.studies, first.finished) == (0, False)

    class Interrupted(Exception):
        pass

    def stop(report: Any, every: int) -> None:
        seen.append(every)
        if report.studies == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        Reconcile(site.places, settle=0).run(site.tenant, say=stop)
    rest = Reconcile(site.places, settle=0).run(site.tenant)
    assert (rest.studies, rest.finished, seen) == (1, True, [3, 3])


def test_a_tenant_is_swept_by_one_at_a_time(site: Site, neighbour: Site) -> None:
    with alone(site.database, site.tenant):
        with pytest.raises(Busy), alone(site.database, site.tenant):
            pytest.fail("two at a time")
        with alone(site.database, neighbour.tenant):
            assert ledger.studies(site.database, neighbour.tenant) == []
    with alone(site.database, site.tenant):
        pass

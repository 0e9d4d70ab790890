"""extract_tags on a real PostgreSQL: the same rows and events, however events arrive."""

from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from pacsless.archive.files import FileArchive
from pacsless.cli import main
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.scan import scan
from pacsless.errors import PacslessError, Unavailable, Unprocessable
from pacsless.events import (
    Event,
    InstanceConversionRequested,
    InstanceFrameIndexRequested,
    InstanceIndexed,
    InstanceStored,
    SeriesRevised,
)
from pacsless.identity import InstanceIdentity
from pacsless.postgres import Transaction
from pacsless.settings import Settings
from tests.eventually import eventually
from tests.index import Index
from tests.instances import make_dataset, new_tenant, store, store_bytes
from tests.services import REPOSITORY, PostgresServer

SAMPLES = REPOSITORY.parent / "shared" / "dicom-samples"


def revised(events: Sequence[Event]) -> dict[str, SeriesRevised]:
    return {one.series_instance_uid: one for one in events if isinstance(one, SeriesRevised)}


def test_a_batch_is_indexed_and_announced(indexer: Index, tenant: str) -> None:
    events = [
        store(
            indexer.archive,
            tenant,
            make_dataset(
                StudyInstanceUID="1.2.1",
                SeriesInstanceUID=f"1.2.1.{series}",
                SOPInstanceUID=f"1.2.1.{series}.{number}",
                InstanceNumber=number,
                SeriesNumber=series,
                Modality="CT" if series == 1 else "PT",
            ),
        )
        for series, number in [(1, 1), (1, 2), (2, 1)]
    ]
    found = indexer(*events)
    indexed = [one for one in found if isinstance(one, InstanceIndexed)]
    assert [one.sop_instance_uid for one in indexed] == ["1.2.1.1.1", "1.2.1.1.2", "1.2.1.2.1"]
    assert {one.created_date for one in indexed} == {"2026-11-23"}
    assert [one.sha256 for one in indexed] == [one.sha256 for one in events]
    assert indexed[0].dicom_json["00100010"] == {
        "vr": "PN",
        "Value": [{"Alphabetic": "Doe^Jane"}],
    }
    states = revised(found)
    assert set(states) == {"1.2.1.1", "1.2.1.2"}
    state = states["1.2.1.1"]
    assert state.number_of_series_related_instances == 2
    assert (state.number_of_study_related_series, state.number_of_study_related_instances) == (2, 3)
    assert state.series_bytes == events[0].file_size + events[1].file_size
    assert state.study_bytes == sum(one.file_size for one in events)
    assert state.patient == {
        "PatientName": "Doe^Jane",
        "PatientID": "P-1",
        "PatientBirthDate": "19700203",
        "PatientSex": "F",
    }
    assert state.study["StudyDescription"] == "Chest"
    assert states["1.2.1.2"].series["Modality"] == "PT"
    assert [type(one) for one in found].index(SeriesRevised) == 3


def test_a_replay_changes_nothing_and_repeats_the_events(indexer: Index, tenant: str) -> None:
    events = [
        store(indexer.archive, tenant, make_dataset(StudyInstanceUID="1.2.2")) for _ in range(4)
    ]
    first = indexer(*events[:2]) + indexer(*events[2:])
    before = indexer.state(tenant), indexer.revisions(tenant)
    again = indexer(*events)
    assert (indexer.state(tenant), indexer.revisions(tenant)) == before
    newest = {one.id: one for one in again}
    assert {one.id for one in first if isinstance(one, InstanceIndexed)} <= newest.keys()
    # States as they are now; the last of each series was sent before already.
    assert {one.id for one in again} <= {one.id for one in first} | set(newest)
    assert again == indexer(*events)
    # One at a time as well, and in another order.
    singly = {one.id: one for event in reversed(events) for one in indexer(event)}
    assert singly == newest
    assert (indexer.state(tenant), indexer.revisions(tenant)) == before


def test_any_order_of_arrival_ends_in_the_same_rows(indexer: Index) -> None:
    """Studies with two Patient IDs, empty values, other descriptions: every permutation."""
    sets: list[dict[str, Any]] = [
        {"SOPInstanceUID": "1.2.3.4", "PatientID": "P-2", "PatientName": "Roe^Rick"},
        {"SOPInstanceUID": "1.2.3.3", "PatientID": "P-1", "StudyDescription": "Abdomen"},
        {"SOPInstanceUID": "1.2.3.2", "PatientID": "", "PatientName": "", "StudyDate": ""},
        {"SOPInstanceUID": "1.2.3.1", "PatientID": "P-1", "Modality": None, "StudyTime": None},
        {"SOPInstanceUID": "1.2.3.5", "SeriesInstanceUID": "1.2.3.9", "Modality": "SR"},
    ]
    fixed: dict[str, Any] = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.8"}
    outcomes = []
    orders = list(itertools.permutations(range(len(sets))))
    for order in random.Random(5).sample(orders, 24):
        tenant = new_tenant()
        events = [store(indexer.archive, tenant, make_dataset(**(fixed | sets[i]))) for i in order]
        cut = random.Random(str(order)).randint(0, len(sets))
        indexer(*events[:cut]) if cut else None
        for event in events[cut:]:
            indexer(event)
        state = str(indexer.state(tenant)).replace(tenant, "T")
        outcomes.append(state)
    assert len(set(outcomes)) == 1
    study = indexer.state(tenant)["study"][0][0]
    assert study["patient_ids"] == ["", "P-1", "P-2"]
    # The lowest of those that state most: its name and its ID, not a mixture.
    assert (study["patient_id"], study["patient_name"]) == ("P-1", "doe^jane")
    assert study["described_by"] == "1.2.3.3"
    assert study["attributes"]["00081030"]["Value"] == ["Abdomen"]


def test_a_better_description_revises_every_series_of_the_study(
    indexer: Index, tenant: str
) -> None:
    first = store(
        indexer.archive,
        tenant,
        make_dataset(StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.4.1", StudyDescription=""),
    )
    before = revised(indexer(first))["1.2.4.1"]
    second = store(
        indexer.archive,
        tenant,
        make_dataset(StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.4.2"),
    )
    found = indexer(second)
    states = revised(found)
    assert set(states) == {"1.2.4.1", "1.2.4.2"}
    assert states["1.2.4.1"].revision > before.revision
    assert states["1.2.4.1"].study["StudyDescription"] == "Chest"
    # Had the answer been lost after the commit, the next try would say it all again.
    assert indexer(second) == found


def test_only_series_that_changed_are_revised(indexer: Index, tenant: str) -> None:
    datasets = [
        make_dataset(
            StudyInstanceUID="1.2.5",
            SeriesInstanceUID=f"1.2.5.{series}",
            SOPInstanceUID=f"1.2.5.{series}.{number}",
        )
        for number, series in itertools.product((1, 2), (1, 2))
    ]
    a, b, c, d = (store(indexer.archive, tenant, one) for one in datasets)
    indexer(a, b)
    states = revised(indexer(c))
    assert set(states) == {"1.2.5.1"}
    assert states["1.2.5.1"].number_of_study_related_instances == 3
    assert set(revised(indexer(d))) == {"1.2.5.2"}


def test_the_same_uids_in_two_tenants_are_two_studies(indexer: Index) -> None:
    one, other = new_tenant(), new_tenant()
    dataset = make_dataset()
    indexer(store(indexer.archive, one, dataset))
    found = revised(indexer(store(indexer.archive, other, dataset)))
    (state,) = found.values()
    assert (state.tenant_id, state.number_of_study_related_instances) == (other, 1)


def test_patient_conflicts_are_kept_and_listed_without_the_ids(indexer: Index) -> None:
    """One study with two Patient IDs, and the same Patient ID in two tenants: two people."""
    one, other = new_tenant(), new_tenant()
    conflicting = [
        make_dataset(StudyInstanceUID="1.2.1", PatientID=patient, PatientName=name)
        for patient, name in [("CANARY-1", "Canary^One"), ("CANARY-2", "Canary^Two")]
    ]
    indexer(*(store(indexer.archive, one, dataset) for dataset in conflicting))
    indexer(store(indexer.archive, other, conflicting[0]))
    names = "SELECT patient_id, attributes #>> '{00100010,Value,0,Alphabetic}' FROM patient"
    of_tenant = f"{names} WHERE tenant_id = :t ORDER BY patient_id"
    assert indexer.rows(of_tenant, t=one) == [
        ["CANARY-1", "Canary^One"],
        ["CANARY-2", "Canary^Two"],
    ]
    assert indexer.rows(of_tenant, t=other) == [["CANARY-1", "Canary^One"]]

    def told(*arguments: str) -> str:
        environ = {"PACSLESS_POSTGRES": indexer.settings.postgres}
        answer = CliRunner().invoke(main, ["conflicts", *arguments], env=environ)
        assert answer.exit_code == 0, answer.output
        assert "anary" not in answer.output.lower()
        return answer.output

    found = {"tenant_id": one, "study_instance_uid": "1.2.1", "patient_ids": 2}
    assert json.loads(told("--json", "--tenant", one)) == [found]
    assert found in json.loads(told("--json"))
    assert f"{one:<16}   2  1.2.1" in told("--tenant", one)
    assert told("--tenant", other) == "No study states several Patient IDs.\n"


def test_an_empty_patient_id_describes_nobody(indexer: Index, tenant: str) -> None:
    indexer(store(indexer.archive, tenant, make_dataset(PatientID="", PatientName="A")))
    (state,) = revised(
        indexer(store(indexer.archive, tenant, make_dataset(PatientID=None, PatientName="B")))
    ).values()
    assert state.patient["PatientName"] == "B"
    ((row,),) = indexer.state(tenant)["patient"]
    assert (row["patient_id"], row["attributes"]) == ("", {})


@pytest.mark.parametrize(
    ("syntax", "reason"),
    [
        (ExplicitVRBigEndian, "big-endian"),
        (DeflatedExplicitVRLittleEndian, "deflated-data-set"),
        (ImplicitVRLittleEndian, None),
    ],
)
def test_renditions_are_requested_for_what_viewers_cannot_read(
    indexer: Index, tenant: str, syntax: str, reason: str | None
) -> None:
    event = store(indexer.archive, tenant, make_dataset(pixels=b"\1\2" * 4), syntax)
    without = store(indexer.archive, tenant, make_dataset(), syntax)
    wanted = [
        one for one in indexer(event, without) if isinstance(one, InstanceConversionRequested)
    ]
    assert [(one.sop_instance_uid, one.reason) for one in wanted] == (
        [(event.sop_instance_uid, reason)] if reason else []
    )
    assert all(one.target_transfer_syntax == "1.2.840.10008.1.2.1" for one in wanted)


def test_an_index_of_frames_is_requested_where_they_have_to_be_looked_for(
    indexer: Index, tenant: str
) -> None:
    several = make_dataset(pixels=encapsulate([b"\xff\xd8\xff1", b"\xff\xd8\xff2"]),
                           NumberOfFrames=2)  # fmt: skip
    several["PixelData"].is_undefined_length = True
    one = make_dataset(pixels=encapsulate([b"\xff\xd8\xff1"]))
    one["PixelData"].is_undefined_length = True
    events = [
        store(indexer.archive, tenant, several, JPEGBaseline8Bit),
        store(indexer.archive, tenant, one, JPEGBaseline8Bit),
        store(indexer.archive, tenant, make_dataset(pixels=bytes(16), NumberOfFrames=2)),
    ]
    wanted = [
        [one for one in indexer(*events) if isinstance(one, InstanceFrameIndexRequested)]
        for _ in range(2)
    ]
    assert [(one.sop_instance_uid, one.sha256) for one in wanted[0]] == [
        (events[0].sop_instance_uid, events[0].sha256)
    ]
    assert wanted[0] == wanted[1], "as often as the instance is announced, so by a rebuild"


def test_text_postgresql_refuses_is_cleaned(indexer: Index, tenant: str) -> None:
    event = store(
        indexer.archive,
        tenant,
        make_dataset(PatientName="Nul\0l^A", PatientID="a\0b", StudyDescription="x" * 60_000),
    )
    (state,) = revised(indexer(event)).values()
    assert state.patient["PatientName"].startswith("Nul")
    assert "StudyDescription" not in state.study
    ((study,),) = indexer.state(tenant)["study"]
    assert "\0" not in study["patient_id"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"file_size": 1}, "file-size"),
        ({"file_path": "other/1/2/3.dcm"}, "file-path"),
        ({"sop_instance_uid": "9.9", "file_path": "{tenant}/1.2.6/1.2.6.1/9.9.dcm"},
         "no-such-file"),
        ({"received_at": "yesterday"}, "received-at"),
    ],
)  # fmt: skip
def test_events_that_nothing_can_mend(
    indexer: Index, tenant: str, change: dict[str, Any], code: str
) -> None:
    good = store(
        indexer.archive,
        tenant,
        make_dataset(StudyInstanceUID="1.2.6", SeriesInstanceUID="1.2.6.1"),
    )
    values: dict[str, Any] = {
        name: value.format(tenant=tenant) if isinstance(value, str) else value
        for name, value in change.items()
    }
    with pytest.raises(Unprocessable) as raised:
        indexer(replace(good, **values))
    assert raised.value.code == code
    assert indexer.state(tenant)["instance"] == []
    assert indexer(good)


def test_a_file_that_is_no_dicom_is_unprocessable(indexer: Index, tenant: str) -> None:
    event = store_bytes(
        indexer.archive, InstanceIdentity(tenant, "1.2", "1.3", "1.4"), b"<html>" * 99, "1.2"
    )
    with pytest.raises(Unprocessable):
        indexer(event)


def test_the_digest_of_the_file_wins_in_either_order(indexer: Index, tenant: str) -> None:
    true = store(indexer.archive, tenant, make_dataset())
    false = replace(true, sha256="0" * 64)
    with pytest.raises(Unprocessable, match="two-digests"):
        indexer(true, false)
    indexer(false)
    first = indexer.rows("SELECT revision FROM instance WHERE tenant_id = :t", t=tenant)
    indexer(true)
    ((sha, revision),) = indexer.rows(
        "SELECT sha256, revision FROM instance WHERE tenant_id = :t", t=tenant
    )
    assert sha == true.sha256
    assert revision > first[0][0]
    with pytest.raises(Unprocessable, match="other-file"):
        indexer(false)
    assert indexer.rows("SELECT sha256 FROM instance WHERE tenant_id = :t", t=tenant) == [[sha]]


def test_concurrent_writers_of_one_study_lose_nothing(indexer: Index, tenant: str) -> None:
    datasets = [
        make_dataset(
            StudyInstanceUID=f"1.2.7.{number % 2}",
            SeriesInstanceUID=f"1.2.7.{number % 2}.{number % 3}",
            SOPInstanceUID=f"1.2.7.{number % 2}.{number % 3}.{number}",
            PatientID=f"P-{number % 2}",
        )
        for number in range(60)
    ]
    events = [store(indexer.archive, tenant, one) for one in datasets]
    shuffled = random.Random(7).sample(events, len(events))
    found: list[Event] = []
    failures: list[BaseException] = []

    def work(part: Sequence[InstanceStored]) -> None:
        try:
            for start in range(0, len(part), 5):
                found.extend(indexer(*part[start : start + 5]))
        except PacslessError as error:
            failures.append(error)

    # Every event twice, by different writers.
    parts = [shuffled[0::2], shuffled[1::2], shuffled[1::2], shuffled[0::2]]
    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert indexer.rows("SELECT count(*) FROM instance WHERE tenant_id = :t", t=tenant) == [[60]]
    newest: dict[str, SeriesRevised] = {}
    for one in found:
        if isinstance(one, SeriesRevised):
            before = newest.get(one.series_instance_uid)
            if before is None or one.revision >= before.revision:
                newest[one.series_instance_uid] = one
    # The newest state that was sent of each series is the true one.
    assert {one.number_of_series_related_instances for one in newest.values()} == {10}
    assert len(newest) == 6


def test_a_batch_that_loses_a_deadlock_is_indexed_all_the_same(indexer: Index, tenant: str) -> None:
    """Batches lock in one order and never meet like this, but others may meet them so."""
    events = [
        store(indexer.archive, tenant, make_dataset(StudyInstanceUID=study))
        for study in ("1.2.1", "1.2.2") * 2
    ]
    indexer(*events[:2])
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ((before,),) = indexer.rows(deadlocks)
    lock = (
        "SELECT FROM study WHERE tenant_id = :t AND study_instance_uid = :study FOR NO KEY UPDATE"
    )
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    batch = threading.Thread(target=indexer, args=events[2:])
    with indexer.database.transaction() as transaction:
        # Only the batch looks for deadlocks, so it is the one that is ended.
        transaction.run("SET LOCAL deadlock_timeout = '1h'")
        transaction.run(lock, t=tenant, study="1.2.2")
        batch.start()
        eventually(lambda: indexer.rows(waiting)[0][0] > 0)
        transaction.run(lock, t=tenant, study="1.2.1")
    batch.join()
    assert len(indexer.state(tenant)["instance"]) == len(events)
    eventually(lambda: indexer.rows(deadlocks)[0][0] > before)


def test_a_restarted_server_is_found_again(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path)
    try:
        server.start()
        indexer = Index(FileArchive(tmp_path / "archive"), server.settings)
        tenant = new_tenant()
        indexer(store(indexer.archive, tenant, make_dataset()))
        server.stop(signal.SIGQUIT)
        event = store(indexer.archive, tenant, make_dataset())
        with pytest.raises(Unavailable, match="does not answer"):
            indexer(event)
        server.start()
        assert indexer(event)
        # Idle connections of before a crash cost nobody an error.
        server.stop(signal.SIGQUIT)
        server.start()
        assert len(indexer.state(tenant)["instance"]) == 2
    finally:
        server.stop()


def test_every_constraint_and_index_leads_with_the_tenant(indexer: Index) -> None:
    """Citus distributes by it, and a key without it would tell tenants of each other."""
    found = indexer.rows(
        "SELECT c.relname, i.relname, pg_get_indexdef(i.oid), x.indisunique FROM pg_index x"
        " JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relname <> 'schema_migrations'"
    )
    assert len(found) > 10
    for table, name, definition, unique in found:
        if unique or "USING btree" in definition:
            assert "(tenant_id" in definition, f"{name} of {table} does not lead with tenant_id"
    keys = indexer.rows("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'")
    assert len(keys) == 3
    assert all(one.startswith("FOREIGN KEY (tenant_id") for (one,) in keys)


def test_errors_never_quote_statements_or_values(indexer: Index) -> None:
    def refused(transaction: Transaction) -> None:
        transaction.run("SELECT CAST(:name AS integer)", name="Canary^Name")

    def unknown(transaction: Transaction) -> None:
        transaction.run("SELECT canary_column FROM patient WHERE patient_id = :name", name="Canary")

    for work in (refused, unknown):
        with pytest.raises(PacslessError) as raised:
            indexer.database.run(work)
        assert "anary" not in str(raised.value)
        assert raised.value.__cause__ is None and raised.value.__suppress_context__
    assert indexer.rows("SELECT 1") == [[1]]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/dicom-samples")
def test_odd_files_are_indexed_and_hostile_ones_refused(indexer: Index, tenant: str) -> None:
    """What has identifiers is indexed or refused for good; nothing breaks the index."""
    indexed, refused, not_taken = 0, [], 0
    for folder in ("odd", "charsets", "documents", "hostile"):
        for path in sorted((SAMPLES / folder).rglob("*.dcm")):
            content = path.read_bytes()
            try:
                file = BytesIO(content)
                part10 = split_part10(file)
                file.seek(part10.dataset_offset)
                syntax = part10.transfer_syntax
                found = scan(file, syntax)
                identity = InstanceIdentity(
                    tenant,
                    found.study_instance_uid,
                    found.series_instance_uid,
                    found.sop_instance_uid,
                )
                event = store_bytes(indexer.archive, identity, content, syntax)
            except PacslessError:
                not_taken += 1  # the gateway refuses it, or it is a duplicate
                continue
            try:
                indexer(event)
                indexed += 1
            except Unprocessable as error:
                refused.append((path.name, error.code))
    assert indexed > 110, not_taken
    assert len(refused) <= 5, refused
    assert indexer.rows("SELECT count(*) FROM instance WHERE tenant_id = :t", t=tenant) == [
        [indexed]
    ]
    conflicts = indexer.rows(
        "SELECT count(*) FROM study WHERE tenant_id = :t AND cardinality(patient_ids) > 1",
        t=tenant,
    )
    assert conflicts == [[1]]


def test_a_dump_is_restored(indexer: Index, tenant: str, tmp_path: Path) -> None:
    """As docs/operations-kubernetes.md says; pg_restore leaves functions no search_path."""
    dataset = make_dataset(PatientName="Müller^Änne=王^小東")
    indexer(store(indexer.archive, tenant, dataset))
    address, dump = indexer.settings.postgres, tmp_path / "pacsless.dump"
    restored = f"restored_{tenant}"

    def run(*command: str | Path) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr

    run("pg_dump", "--format=custom", f"--file={dump}", address)
    run("psql", "--quiet", f"--command=CREATE DATABASE {restored}", address)
    run(
        "pg_restore", "--no-owner", "--exit-on-error",
        f"--dbname={address.rpartition('/')[0]}/{restored}", dump,
    )  # fmt: skip
    other = Index(indexer.archive, Settings(postgres=f"{address.rpartition('/')[0]}/{restored}"))
    try:
        words = "SELECT patient_name_words::text FROM study WHERE tenant_id = :tenant"
        assert other.rows(words, tenant=tenant) == indexer.rows(words, tenant=tenant) != []
        assert other.state(tenant) == indexer.state(tenant)
    finally:
        other.database.close()

"""From the files alone: the same index, documents and warehouse as before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace

import pytest

from pacsless.bus import Partition, Producer, create_topics, extents
from pacsless.errors import NotFound, Unavailable
from pacsless.events import Event, InstanceStored, SeriesRevised
from pacsless.functions import load_functions
from pacsless.reconcile import ledger
from pacsless.reconcile.backlog import READERS, Backlog
from pacsless.reconcile.files import stored_event
from pacsless.reconcile.position import Sweep
from pacsless.reconcile.rebuild import PARTS, CannotRebuild, parts_of
from pacsless.settings import Settings
from tests.eventually import eventually
from tests.instances import encode, make_dataset, store_bytes
from tests.integration.test_scp_gateway_kafka import events
from tests.services import REPOSITORY, KafkaBroker
from tests.site import Pipeline, Site


def test_a_file_makes_the_event_that_told_of_it(site: Site) -> None:
    dataset = make_dataset(PatientID="P-77")
    (first,) = site.add(1)
    identity = replace(first.identity, sop_instance_uid=str(dataset.SOPInstanceUID))
    dataset.StudyInstanceUID = identity.study_instance_uid
    dataset.SeriesInstanceUID = identity.series_instance_uid
    syntax = "1.2.840.10008.1.2"
    told = store_bytes(site.archive, identity, encode(dataset, syntax), syntax)
    made = stored_event(site.archive, identity)
    assert made.id == told.id
    assert made == replace(
        told, patient_id="P-77", via="rebuild", calling_ae_title="", called_ae_title="",
        remote_address="",
    )  # fmt: skip


@pytest.mark.parametrize("missing", ["everything", "index", "metadata", "warehouse"])
def test_what_was_lost_comes_back_as_it_was(site: Site, neighbour: Site, missing: str) -> None:
    site.fill(studies=2)
    neighbour.fill()
    before, theirs = site.snapshot(), neighbour.snapshot()
    assert all(before.values())
    forget = {
        "index": site.forget_index,
        "metadata": site.forget_metadata,
        "warehouse": site.forget_warehouse,
    }
    lost = forget if missing == "everything" else {missing: forget[missing]}
    for one in lost.values():
        one()
    assert site.snapshot() != before
    done = site.rebuild.run(site.tenant, list(lost))
    assert (done.finished, done.done, done.unreadable_count) == (True, 2, 0)
    assert done.instances == (4 if missing == "metadata" else 8)
    assert site.snapshot() == before
    assert neighbour.snapshot() == theirs
    assert site.reconcile().drift == {}


def test_a_document_that_was_falsified_is_made_from_the_files(site: Site) -> None:
    site.fill()
    before = site.snapshot()
    for path in (site.folder / "metadata" / site.tenant).rglob("*.json"):
        path.write_bytes(path.read_bytes().replace(b"Doe^Jane", b"Doe^John"))
    site.rebuild.run(site.tenant, ["metadata"])
    assert site.snapshot() == before


def test_rows_the_warehouse_kept_do_not_outlive_a_lost_index(site: Site) -> None:
    """Its sequence column would take what is rebuilt for old."""
    stored = site.fill()
    high = 1_000_000 + ledger_revision(site)
    site.pipeline.load(
        replace(one, revision=high, study_revision=high, number_of_series_related_instances=99)
        for one in ledger.states(site.database, site.tenant, stored[0].study_instance_uid)
    )
    before = site.snapshot()
    site.forget_index()
    # What the gateway stores before anybody looks is numbered from below.
    late = site.add(1, stored[0].study_instance_uid)
    site.pipeline.publish(late, "/tests")
    site.rebuild.run(site.tenant, PARTS)
    assert site.reconcile().drift == {}
    rows = site.duck(
        "SELECT event_seq, number_of_series_related_instances FROM pacsless.dicom_state_meta"
        " WHERE tenant_id = ? AND query_retrieve_level = 'SERIES'",
        site.tenant,
    )
    assert len(rows) == len(before["series"]) + 1
    assert all(revision > high and count < 99 for revision, count in rows)


def test_the_revision_is_raised_with_room_for_who_draws_meanwhile(site: Site) -> None:
    (drawn,) = site.database.run(lambda t: t.run("SELECT nextval('revision')"))[0]
    assert not ledger.raise_revision(site.database, drawn)
    assert ledger.raise_revision(site.database, drawn + 10)
    (raised,) = site.database.run(lambda t: t.run("SELECT nextval('revision')"))[0]
    assert raised > drawn + 10 + 100_000


@pytest.mark.parametrize("parts", [PARTS, ["metadata"]])
def test_a_tenant_nobody_knows_is_not_rebuilt(site: Site, parts: list[str]) -> None:
    with pytest.raises(NotFound, match=site.tenant):
        site.rebuild.run(site.tenant, parts)
    assert site.sql("SELECT FROM sweep WHERE tenant_id = :tenant") == []


def ledger_revision(site: Site) -> int:
    return int(site.sql("SELECT max(revision) FROM instance WHERE tenant_id = :tenant")[0][0])


class Ends(Pipeline):
    """Ends after some events, as a process that is killed does."""

    left = 5

    def publish(self, events: Iterable[Event], source: str) -> None:
        for event in events:
            if self.left == 0:
                raise Unavailable("broker", "gone")
            self.left -= 1
            super().publish([event], source)


def test_an_interrupted_rebuild_goes_on(site: Site) -> None:
    site.fill(instances=2, studies=4)
    before = site.snapshot()
    for one in (site.forget_index, site.forget_metadata, site.forget_warehouse):
        one()
    ends = Ends(site.places, site.settings, site.pipeline.stream_load)
    with pytest.raises(Unavailable):
        replace(site.rebuild, producer=ends).run(site.tenant, PARTS)
    done = site.rebuild.run(site.tenant, PARTS)
    assert (done.studies, done.done, done.instances) == (4, 4, 9), "from the study it broke off in"
    assert site.snapshot() == before
    again = site.rebuild.run(site.tenant, PARTS)
    assert again.instances == 12, "one that ended begins anew"
    assert site.snapshot() == before


def test_other_parts_or_restart_begin_anew(site: Site) -> None:
    site.fill(instances=1, studies=3)
    for parts, restart, expected in (
        (["index"], False, 4),
        (["warehouse"], False, 6),
        (["index"], True, 6),
    ):
        ends = Ends(site.places, site.settings, site.pipeline.stream_load)
        ends.left = 3
        with pytest.raises(Unavailable):
            replace(site.rebuild, producer=ends).run(site.tenant, ["index"], restart=True)
        done = site.rebuild.run(site.tenant, parts, restart=restart)
        assert done.instances == expected


def test_a_file_that_does_not_say_what_it_is_is_named_and_passed_over(site: Site) -> None:
    site.fill()
    junk, misplaced = site.add(2)
    (site.folder / junk.file_path).write_bytes(b"no DICOM")
    other = site.add(1)[0]
    content = (site.folder / other.file_path).read_bytes()
    (site.folder / misplaced.file_path).write_bytes(content)
    done = site.rebuild.run(site.tenant, ["index"])
    assert done.unreadable_count == 2
    assert sorted(done.unreadable) == sorted([junk.file_path, misplaced.file_path])
    assert done.finished


def test_parts_are_named() -> None:
    assert parts_of("warehouse, index") == ("index", "warehouse")
    for wrong in ("", "indexes", "index,redis"):
        with pytest.raises(CannotRebuild, match="index,metadata,warehouse"):
            parts_of(wrong)


def test_a_killed_command_is_gone_on_with_and_every_file_is_announced(
    site: Site, empty_kafka: KafkaBroker
) -> None:
    stored = [one for _ in range(80) for one in site.add(1)]
    settings = replace(site.settings, kafka=empty_kafka.servers)
    environ = os.environ | {
        f"PACSLESS_{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
        for name in ("archive", "kafka", "postgres", "doris_mysql")
        for value in (getattr(settings, name),)
    }
    command = [sys.executable, "-m", "pacsless", "rebuild", "--tenant", site.tenant, "--no-wait"]
    sweep = Sweep(site.database, site.tenant, "rebuild")

    def position() -> str:
        found = sweep.unfinished()
        return found.after_study if found else ""

    with subprocess.Popen(command, cwd=REPOSITORY, env=environ, stderr=subprocess.PIPE) as first:
        eventually(position)
        first.send_signal(signal.SIGKILL)
    stopped = position()
    assert stopped and stopped < max(one.study_instance_uid for one in stored)
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "80 studies are announced" in done.stdout
    assert sweep.unfinished() is None
    told = events(empty_kafka, InstanceStored)
    assert {one.id for one in told} == {one.id for one in stored}
    assert len(told) < 2 * len(stored)
    backlog = Backlog(settings, most=50, patience=0)
    assert backlog.waiting() == len(told)
    with pytest.raises(Unavailable, match="events wait"):
        backlog.make_room(10)
    Backlog(settings, most=1000, patience=0).make_room(10)


def test_what_others_announce_meanwhile_is_not_waited_for(
    site: Site, empty_kafka: KafkaBroker
) -> None:
    settings = replace(site.settings, kafka=empty_kafka.servers)
    create_topics(settings)
    backlog = Backlog(settings)
    told: list[int] = []
    with closing(Producer(settings, "tests")) as producer:
        producer.publish(site.add(3), "/tests")
        up_to = extents(settings, [InstanceStored.TOPIC])
        handled = {one: there.stop for one, there in up_to.items()}

        def meanwhile(waiting: int) -> None:
            """The functions get on, and a sender too."""
            told.append(waiting)
            producer.publish(site.add(1), "/tests")
            commit(settings, "pacsless-extract-tags", handled)

        backlog.say = meanwhile
        backlog.drain()
    assert told == [3]
    assert backlog.waiting() == 1


def commit(settings: Settings, group: str, offsets: Mapping[Partition, int]) -> None:
    from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition

    with closing(KafkaConsumer(bootstrap_servers=settings.kafka, group_id=group)) as consumer:
        consumer.commit({
            TopicPartition(*one): OffsetAndMetadata(at, "", -1) for one, at in offsets.items()
        })  # fmt: skip


def test_the_readers_are_those_of_the_flow() -> None:
    specs = load_functions()
    for name, topics in READERS.items():
        assert set(topics) <= set(specs[name].topics)
    fed = {InstanceStored.TOPIC, SeriesRevised.TOPIC, "dicom_image_queue"}
    assert {topic for topics in READERS.values() for topic in topics} == fed

"""Bad events and bad files between a real trigger and the real extract_tags."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pacsless import bus
from pacsless.archive.files import FileArchive
from pacsless.cli import main
from pacsless.codec import Record, to_record
from pacsless.dead_letters import Letter
from pacsless.events import InstanceStored
from pacsless.functions import FUNCTIONS_FOLDER
from pacsless.identity import InstanceIdentity
from pacsless.postgres import Database
from tests.instances import encode, make_dataset, new_tenant, store, store_bytes
from tests.services import KafkaBroker, PostgresServer
from tests.triggers import Bench

pytestmark = pytest.mark.kafka


class IndexBench(Bench):
    """extract_tags, its trigger, an archive and PostgreSQL."""

    name, topic, functions = "extract_tags", InstanceStored.TOPIC, FUNCTIONS_FOLDER

    def __init__(
        self, broker: KafkaBroker, postgres: PostgresServer, folder: Path, stack: ExitStack
    ) -> None:
        super().__init__(broker, folder, stack)
        self._postgres = postgres.settings
        self.root = folder / "archive"
        self.archive = FileArchive(self.root)
        self.tenant = new_tenant()
        self.database = Database.from_settings(postgres.settings, size=1)
        stack.callback(self.database.close)

    def environ(self, **more: str) -> dict[str, str]:
        more |= {
            "PACSLESS_ARCHIVE": f"file://{self.root}",
            "PACSLESS_POSTGRES": self._postgres.postgres,
        }
        return super().environ(**more)

    def indexed(self) -> set[str]:
        """Instances in the ledger."""
        sql = "SELECT sop_instance_uid FROM instance WHERE tenant_id = :tenant"
        rows = self.database.run(lambda one: one.run(sql, tenant=self.tenant))
        return {uid for (uid,) in rows}

    def codes(self) -> Counter[str]:
        """Why dead letters wait."""
        found = self.dlq("list")["dead_letters"]
        assert all(one["function"] == "extract_tags" for one in found)
        return Counter({one["code"]: one["count"] for one in found})

    def dlq(self, *arguments: str) -> Any:
        """Run ``pacsless dlq`` for a program."""
        environ = {"PACSLESS_KAFKA": ",".join(self.broker.servers)}
        done = CliRunner().invoke(main, ["dlq", *arguments, "--json"], env=environ)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture
def bench(empty_kafka: KafkaBroker, postgres: PostgresServer, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield IndexBench(empty_kafka, postgres, tmp_path, stack)


def test_each_bad_event_is_a_dead_letter_and_its_neighbours_are_indexed(bench: IndexBench) -> None:
    # Of one study, so that all are in one partition and in one batch.
    study = str(make_dataset().StudyInstanceUID)

    def dataset(number: int) -> Any:
        return make_dataset(
            StudyInstanceUID=study, InstanceNumber=number, PatientName="CANARY^NAME",
            PatientID="CANARY-ID",
        )  # fmt: skip

    good = [store(bench.archive, bench.tenant, dataset(number)) for number in range(5)]
    records = [to_record(one, "/test") for one in good]
    one = records[0]

    cut = encode(dataset(6))
    other = make_dataset(StudyInstanceUID=study)
    identity = InstanceIdentity(
        bench.tenant, study, str(other.SeriesInstanceUID), str(other.SOPInstanceUID)
    )
    corrupt = store_bytes(bench.archive, identity, cut[: len(cut) // 2], "1.2.840.10008.1.2.1")
    gone_content = encode(gone_dataset := dataset(7))
    gone = store(bench.archive, bench.tenant, gone_dataset)
    (bench.root / gone.file_path).unlink()
    lacking = json.loads(one.value)
    del lacking["FilePath"]

    def of_type(kind: str) -> Record:
        told = {**dict(one.headers), "ce_type": kind.encode()}
        return replace(one, headers=tuple(told.items()))

    bad = [
        to_record(corrupt, "/test"),
        replace(one, value=json.dumps(lacking).encode()),
        replace(one, value=b"\xff\xfeCANARY"),
        replace(one, headers=(("CANARY", b"CANARY"),)),
        of_type("org.pacsless.instance.stored.v9"),
        of_type("com.example.canary"),
        of_type("org.pacsless.series.revised.v1"),
        to_record(gone, "/test"),
    ]
    # Bad ones at both ends and between the good ones.
    woven = [bad[0], *(two for pair in zip(records, bad[1:], strict=False) for two in pair)]
    bench.producer.send_records([*woven, *bad[1 + len(records) :]])

    bench.function()
    bench.trigger()
    bench.await_no_lag()
    assert bench.indexed() == {event.sop_instance_uid for event in good}
    wanted = Counter({
        "truncated": 1, "schema": 2, "not-json": 1, "not-a-cloudevent": 1, "unknown-type": 2,
        "no-such-file": 1,
    })  # fmt: skip
    assert bench.codes() == wanted
    letters = [Letter(message) for message in bench.dead_letters()]
    assert sorted((letter.event.value, letter.event.headers) for letter in letters) == sorted(
        (record.value, record.headers) for record in bad
    )

    # The cause of one is mended; the others fail again, and each waits once.
    store_bytes(bench.archive, gone.identity, gone_content, "1.2.840.10008.1.2.1")
    assert bench.dlq("redrive", "--tenant", bench.tenant)["count"] == 8
    bench.await_no_lag()
    assert gone.sop_instance_uid in bench.indexed()
    wanted -= Counter({"no-such-file": 1})
    assert bench.codes() == wanted
    assert bus.dead_letter_counts(bench.broker.settings)[bench.topic] == wanted.total() == 7

    for log in ("function.log", "trigger.log"):
        assert "CANARY" not in (bench.folder / log).read_text()

"""However events arrive, the index ends the same, and counts are what there is.

``pytest --hypothesis-profile=thorough`` tries some twenty times as many.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.extract_tags.index import index
from functions.qido_rs.answers import (
    MODALITIES_IN_STUDY,
    SERIES_INSTANCES,
    STUDY_INSTANCES,
    STUDY_SERIES,
)
from functions.qido_rs.attributes import Level
from functions.qido_rs.query import parse
from functions.qido_rs.search import search
from pacsless.archive.files import FileArchive
from pacsless.events import Event, InstanceStored, SeriesRevised
from pacsless.postgres import Database
from tests.index import Index
from tests.instances import make_dataset, new_tenant, store
from tests.services import PostgresServer

STUDY_UID, SERIES_UID = "0020000D", "0020000E"
OF_STUDY = (
    "number_of_study_related_series",
    "number_of_study_related_instances",
    "study_bytes",
)
"""What a newer event of another series of the study may know better."""
NOT_COMPARED = ("tenant_id", "revision", "study_revision", "updated_at")


@dataclass(frozen=True)
class Arrival:
    """Instances of two tenants, and how their events come."""

    instances: list[dict[str, Any]]
    batches: list[list[int]]
    """Positions in `instances`; each comes one to five times."""
    threads: int


ATTRIBUTES = {
    "tenant": st.sampled_from(["a", "b"]),
    "study": st.sampled_from(["1.2.1", "1.2.2"]),
    "series": st.integers(1, 3),
    "PatientID": st.sampled_from(["P-1", "P-2", ""]),
    "PatientName": st.sampled_from(["Doe^Jane", "Roe^Rick", None]),
    "Modality": st.sampled_from(["CT", "PT", None]),
    "StudyDescription": st.sampled_from(["Chest", "Abdomen", ""]),
    "SeriesDescription": st.sampled_from(["Lung", None]),
}


@st.composite
def arrivals(draw: st.DrawFn) -> Arrival:
    instances = draw(st.lists(st.fixed_dictionaries(ATTRIBUTES), min_size=1, max_size=8))
    times = [draw(st.integers(1, 5)) for _ in instances]
    order = draw(st.permutations([n for n, count in enumerate(times) for _ in range(count)]))
    batches = []
    while order:
        size = draw(st.integers(1, 8))
        batches.append(list(order[:size]))
        order = order[size:]
    return Arrival(instances, batches, draw(st.integers(1, 4)))


@pytest.fixture(scope="module")
def indexer(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    made = Index(FileArchive(tmp_path_factory.mktemp("archive")), postgres.settings)
    yield made
    made.database.close()


class Site:
    """Two tenants that nobody else has, and the events of their instances."""

    def __init__(self, indexer: Index, instances: Sequence[dict[str, Any]]) -> None:
        self.indexer = indexer
        self.tenants = {name: new_tenant() for name in "ab"}
        self.stored = [self._store(number, one) for number, one in enumerate(instances)]
        self.told: list[Event] = []

    def _store(self, number: int, one: dict[str, Any]) -> InstanceStored:
        values = {key: value for key, value in one.items() if key[0].isupper()}
        series = f"{one['study']}.{one['series']}"
        dataset = make_dataset(
            StudyInstanceUID=one["study"],
            SeriesInstanceUID=series,
            SOPInstanceUID=f"{series}.{number}",
            **values,
        )
        return store(self.indexer.archive, self.tenants[one["tenant"]], dataset)

    def index(self, batch: Sequence[int]) -> None:
        self.told += self.indexer(*(self.stored[number] for number in batch))

    def outcome(self) -> dict[str, Any]:
        """Rows, and the last word on each series and study, of each tenant by its letter."""
        found = {}
        for name, tenant in self.tenants.items():
            told = [
                one
                for one in self.told
                if isinstance(one, SeriesRevised) and one.tenant_id == tenant
            ]
            rows = str(self.indexer.state(tenant)).replace(tenant, name)
            found[name] = rows, _last_of_series(told), _last_of_studies(told)
        return found


def _last_of_series(told: Sequence[SeriesRevised]) -> dict[str, Any]:
    newest = {one.series_instance_uid: one for one in sorted(told, key=lambda one: one.revision)}
    return {
        uid: {
            key: value
            for key, value in asdict(one).items()
            if key not in (*OF_STUDY, *NOT_COMPARED)
        }
        for uid, one in newest.items()
    }


def _last_of_studies(told: Sequence[SeriesRevised]) -> dict[str, Any]:
    ordered = sorted(told, key=lambda one: one.study_revision)
    newest = {one.study_instance_uid: one for one in ordered}
    return {uid: [getattr(one, key) for key in OF_STUDY] for uid, one in newest.items()}


def together(works: Sequence[Callable[[], None]]) -> None:
    """Do all at the same time; fail with the first that fails."""
    failures: list[BaseException] = []
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        try:
            gate.wait()
            work()
        except BaseException as error:  # noqa: BLE001  told below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def answered(indexer: Index, tenant: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What QIDO-RS counts, of each study and of each series."""

    def ask(level: Level) -> list[dict[str, Any]]:
        found = search(
            parse(level, []),
            tenant,
            "",
            archive=indexer.archive,
            database=indexer.database,
            settings=indexer.settings,
        )
        matches = map(json.loads, found.matches)
        return [{tag: element.get("Value") for tag, element in one.items()} for one in matches]

    return (
        {
            one[STUDY_UID][0]: (
                one[STUDY_SERIES][0],
                one[STUDY_INSTANCES][0],
                set(one.get(MODALITIES_IN_STUDY, ())),
            )
            for one in ask(Level.STUDIES)
        },
        {one[SERIES_UID][0]: one[SERIES_INSTANCES][0] for one in ask(Level.SERIES)},
    )


def counted(indexer: Index, tenant: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same by count(*)."""
    studies = indexer.rows(
        "SELECT study_instance_uid, count(DISTINCT series_instance_uid), count(*),"
        " array_agg(DISTINCT modality) FROM instance"
        " JOIN series USING (tenant_id, study_instance_uid, series_instance_uid)"
        " WHERE tenant_id = :t GROUP BY 1",
        t=tenant,
    )
    series = indexer.rows(
        "SELECT series_instance_uid, count(*) FROM instance WHERE tenant_id = :t GROUP BY 1",
        t=tenant,
    )
    return (
        {
            uid: (one, all_of_it, set(modalities) - {""})
            for uid, one, all_of_it, modalities in studies
        },
        dict(series),
    )


@given(arrival=arrivals())
@settings(
    max_examples=settings().max_examples // 5,
)
@pytest.mark.timeout(3600)
def test_any_arrival_ends_in_the_same_rows_events_and_counts(
    indexer: Index, arrival: Arrival
) -> None:
    plain, site = Site(indexer, arrival.instances), Site(indexer, arrival.instances)
    plain.index(range(len(arrival.instances)))

    def work(mine: Sequence[Sequence[int]]) -> None:
        for batch in mine:
            site.index(batch)

    together(
        [
            lambda mine=arrival.batches[start :: arrival.threads]: work(mine)  # type: ignore[misc]
            for start in range(arrival.threads)
        ]
    )
    assert site.outcome() == plain.outcome()
    for tenant in site.tenants.values():
        assert answered(indexer, tenant) == counted(indexer, tenant)


def test_64_writers_of_one_study(indexer: Index) -> None:
    """Each with a connection of its own; every event comes from two of them."""
    tenant, writers, each = new_tenant(), 64, 3
    events = [
        store(
            indexer.archive,
            tenant,
            make_dataset(
                StudyInstanceUID="1.2",
                SeriesInstanceUID=f"1.2.{number % 5}",
                SOPInstanceUID=f"1.2.{number % 5}.{number}",
                PatientID=f"P-{number % 3}",
                StudyDescription="x" * (number % 2),
            ),
        )
        for number in range(writers * each)
    ]

    def write(number: int) -> None:
        database = Database.from_settings(indexer.settings, size=1)
        try:
            for part in (number, (number + 1) % writers):
                batch = events[part * each : (part + 1) * each]
                index(batch, indexer.archive, database, indexer.settings)
        finally:
            database.close()

    together([lambda number=number: write(number) for number in range(writers)])  # type: ignore[misc]
    studies, series = answered(indexer, tenant)
    assert (studies, series) == counted(indexer, tenant)
    assert studies["1.2"][:2] == (5, len(events))
    assert sum(series.values()) == len(events)
    assert indexer.rows("SELECT count(*) FROM change WHERE tenant_id = :t", t=tenant) == [
        [len(events)]
    ]

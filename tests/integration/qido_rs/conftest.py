"""Three studies of a tenant and one of its neighbour, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pacsless.archive import Archive
from pacsless.archive.files import FileArchive
from pacsless.postgres import Database
from pacsless.resources import override
from pacsless.settings import Settings
from tests.instances import make_dataset
from tests.qido import Site, request
from tests.services import PostgresServer

JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.fixture(scope="module")
def site(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(FileArchive(tmp_path_factory.mktemp("archive")), postgres.settings)
    resources = {Archive: made.archive, Database: made.database, Settings: made.settings}
    with override(resources):
        made.add(
            *(
                make_dataset(
                    StudyInstanceUID="1.1",
                    SeriesInstanceUID=f"1.1.{series}",
                    SOPInstanceUID=f"1.1.{series}.{number}",
                    SeriesNumber=series,
                    InstanceNumber=number,
                    Modality={1: "CT", 2: "PT"}[series],
                )
                for series, number in [(1, 3), (1, 1), (1, 2), (2, 10), (2, 9)]
            ),
            make_dataset(
                StudyInstanceUID="1.2",
                SeriesInstanceUID="1.2.1",
                SOPInstanceUID="1.2.1.1",
                PatientName=JAPANESE,
                PatientID="100%_x",
                StudyDate="20200101",
                StudyTime="0730",
                AccessionNumber="B*1",
                Modality="MR",
                StudyDescription="Head MR",
                PatientBirthDate="",
                PerformedProcedureStepStartDate="20200102",
                SeriesDate="2020.01.05",
                StationName="MR1",
                RequestAttributesSequence=[
                    request(ScheduledProcedureStepID="SPS1", RequestedProcedureID="RP1"),
                    request(ScheduledProcedureStepID="SPS2", RequestedProcedureID="RP2"),
                ],
                NumberOfFrames=7,
            ),
            make_dataset(
                StudyInstanceUID="1.3",
                SeriesInstanceUID="1.3.1",
                SOPInstanceUID="1.3.1.1",
                PatientName="MÜLLER^Hans^^Dr.",
                PatientID="",
                StudyDate="not a date",
                StudyTime=None,
                AccessionNumber=None,
                Modality="US",
                StudyID=None,
            ),
        )
        made.add(make_dataset(StudyInstanceUID="1.1", PatientName="Other"), tenant=made.neighbour)
        yield made
    made.database.close()

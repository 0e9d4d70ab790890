"""The function orthanc on a real PostgreSQL and archive, and pyorthanc before both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from functions.orthanc.index import Holdings
from pacsless.archive import Archive
from pacsless.archive.files import FileArchive
from pacsless.cache import Cache
from pacsless.resources import override
from pacsless.settings import Settings
from tests.orthanc import FILES, Site
from tests.services import PostgresServer


@pytest.fixture(scope="module")
def site(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Four of pydicom's files, and one of them at a neighbour's."""
    made = Site(FileArchive(tmp_path_factory.mktemp("archive")), postgres.settings)
    holdings = Holdings.on(made.database, made.archive, made.settings)
    resources = {
        Archive: made.archive, Settings: made.settings, Cache: Cache(), Holdings: holdings,
    }  # fmt: skip
    with override(resources):
        made.put(*FILES)
        made.put("CT_small.dcm", tenant=made.neighbour)
        yield made
    made.database.close()

"""The index, for the tests that fill it directly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pacsless.archive.files import FileArchive
from tests.index import Index
from tests.instances import new_tenant
from tests.services import PostgresServer


@pytest.fixture
def indexer(postgres: PostgresServer, tmp_path: Path) -> Iterator[Index]:
    made = Index(FileArchive(tmp_path / "archive"), postgres.settings)
    yield made
    made.database.close()


@pytest.fixture
def tenant() -> str:
    return new_tenant()

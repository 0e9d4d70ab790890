"""A warehouse, and a tenant with everything that is derived from its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pacsless.warehouse import Warehouse
from tests.services import PostgresServer
from tests.site import Site


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """One for the module's tests, each with a tenant of its own."""
    with Warehouse(
        tmp_path_factory.mktemp("warehouse"), fe_port=0, be_port=0, mysql_port=0
    ) as running:
        yield running


@pytest.fixture
def site(postgres: PostgresServer, warehouse: Warehouse, tmp_path: Path) -> Iterator[Site]:
    """A tenant nobody else has."""
    one = Site(tmp_path / "archive", postgres.settings, warehouse)
    yield one
    one.close()


@pytest.fixture
def neighbour(site: Site, postgres: PostgresServer, warehouse: Warehouse) -> Iterator[Site]:
    """Another tenant of the same archive, database and warehouse."""
    one = Site(site.folder, postgres.settings, warehouse)
    yield one
    one.close()

"""Fixtures of the tests of storage commitment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scp_gateway.storage_commitment import (
    Transactions,
)

from pacsless.archive.files import FileArchive
from tests.ports import free_ports
from tests.unit.storage_commitment.parts import (
    Index,
    Scu,
)


@pytest.fixture
def transactions(tmp_path: Path) -> Transactions:
    return Transactions(tmp_path)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(FileArchive(tmp_path / "archive"))


@pytest.fixture
def scu() -> Iterator[Callable[..., Scu]]:
    started: list[Scu] = []

    def start(*statuses: int, port: int = 0, title: str = "CT_SCANNER", tls: Any = None) -> Scu:
        started.append(Scu(port or free_ports(1)[0], *statuses, title=title, tls=tls))
        return started[-1]

    yield start
    for one in started:
        one.stop()

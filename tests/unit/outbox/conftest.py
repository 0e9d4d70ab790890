"""One outbox, and who reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pacsless.outbox import Backlog, Outbox
from tests.outboxes import folder_of


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def outbox(spool: Path) -> Iterator[Outbox]:
    box = Outbox(folder_of(spool))
    yield box
    box.close()


@pytest.fixture
def backlog(outbox: Outbox, spool: Path) -> Iterator[Backlog]:
    reader = Backlog(lambda: [folder_of(spool)])
    yield reader
    reader.close()

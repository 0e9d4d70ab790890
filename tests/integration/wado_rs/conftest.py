"""wado_rs as it is deployed: through functions-framework, on a real archive of files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wado import Pacs, deployed


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Pacs]:
    with deployed("wado_rs", tmp_path) as running:
        yield running

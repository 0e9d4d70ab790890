"""wado_rs as it is deployed: through functions-framework, on a real archive of files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from functions_framework import create_app

from pacsless import resources
from pacsless.archive import Archive
from pacsless.archive.files import FileArchive
from pacsless.cache import Cache
from pacsless.settings import Settings
from tests.services import REPOSITORY
from tests.wado import SETTINGS, Pacs


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Pacs]:
    archive = FileArchive(tmp_path / "archive")
    with resources.override({Archive: archive, Settings: SETTINGS, Cache: Cache()}):
        app = create_app(  # type: ignore[no-untyped-call]
            "wado_rs", str(REPOSITORY / "functions" / "wado_rs" / "main.py")
        )
        yield Pacs(archive, app.test_client())

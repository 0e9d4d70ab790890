"""STOW-RS behind nginx."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services import require
from tests.stow import Stow, serve


@pytest.fixture(scope="module")
def stow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stow]:
    require("nginx")
    with serve(tmp_path_factory.mktemp("stow_rs")) as stow:
        yield stow

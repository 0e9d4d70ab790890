"""The README's generated table is what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacsless.functions import load_functions
from pacsless.readme import fill, table

README = Path(__file__).parents[2] / "README.md"


def test_the_table_of_functions_is_up_to_date() -> None:
    text = README.read_text()
    assert fill(text, table(load_functions().values())) == text, "run `make docs`"


def test_every_function_is_in_the_table() -> None:
    assert all(f"`{name}`" in table(load_functions().values()) for name in load_functions())


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="functions"):
        fill("no markers", "table")

"""The operator's tables are what the code says."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pacsless.policy import ScalePolicy, TriggerPolicy

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("policy", [TriggerPolicy, ScalePolicy])
def test_every_setting_stands_there_with_its_default(
    policy: type[TriggerPolicy | ScalePolicy],
) -> None:
    for one in fields(policy):
        row = rf"^\| `{one.name}` \| {re.escape(str(one.default))} \|"
        assert re.search(row, TEXT, re.MULTILINE), one.name


def test_every_setting_that_stands_there_exists() -> None:
    known = {one.name for policy in (TriggerPolicy, ScalePolicy) for one in fields(policy)}
    assert set(re.findall(r"^\| `([a-z_]+)` \| (?!function)", TEXT, re.MULTILINE)) == known

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pacsless.stack import demo
from pacsless.stack.settings import StackSettings


def test_another_tenants_instances_are_not_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [("default", "1.2"), ("default", "1.3"), ("typo", "1.2")]

    def answer(_: Any, sql: str, values: list[str]) -> Any:
        assert "tenant_id = %s" in sql
        tenant, *sops = values
        return None, [(sum(one[0] == tenant and one[1] in sops for one in rows),)]

    monkeypatch.setattr(demo, "_query", answer)
    files = [SimpleNamespace(file=SimpleNamespace(sop_instance_uid=uid)) for uid in ("1.2", "1.3")]
    sent: Any = SimpleNamespace(files=files)
    assert demo._in_warehouse(StackSettings(home=tmp_path), "default", sent)

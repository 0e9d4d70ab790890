"""``pacsless burst`` against the whole stack."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.conftest import Stack
from tests.ports import free_ports

pytestmark = pytest.mark.stack


def test_a_small_burst_arrives_everywhere(stack: Stack) -> None:
    result = stack.run(
        "burst", "--instances", "50", "--studies", "3", "--senders", "2", "--patience", "120",
        "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["complete"]
    assert told["statuses"] == {"0000": 50}
    assert told["studies"] == 3
    for milestone in ("acknowledged", "indexed", "described", "loaded"):
        assert told[milestone]["count"] == 50, milestone
    assert told["answered"]["count"] >= 1
    assert told["lag_0_seconds"] is not None
    last = told["samples"][-1]
    assert (last["acknowledged"], last["backlog"], last["loaded"]) == (50, 0, 50)
    assert set(last["workers"]) >= {"extract_tags", "build_metadata", "load_doris"}
    # What the burst counted is what the parts have.
    ((instances, studies),) = stack.sql(
        "SELECT count(*), count(DISTINCT study_instance_uid) FROM instance JOIN study"
        " USING (tenant_id, study_instance_uid) WHERE study.patient_id LIKE 'BURST-%'"
    )
    assert (instances, studies) == (50, 3)


def test_another_archive_is_watched_only_where_named(stack: Stack) -> None:
    result = stack.run(
        "burst", "--instances", "8", "--host", "127.0.0.1", "--port", str(stack.dicom_port),
        "--dicomweb", f"{stack.url}/dicom-web", "--rate", "20",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert re.search(r"^counted by QIDO-RS +8 ", result.stdout, re.MULTILINE)
    assert "in the warehouse" not in result.stdout
    assert "backlog" not in result.stdout


def test_nobody_there_is_said(stack: Stack) -> None:
    (port,) = free_ports(1)
    result = stack.run(
        "burst", "--instances", "2", "--port", str(port), "--patience", "1", "--json"
    )
    assert result.returncode == 1
    told = json.loads(result.stdout)
    assert not told["complete"]
    assert told["acknowledged"]["count"] == 0
    assert "nothing listens there" in result.stderr

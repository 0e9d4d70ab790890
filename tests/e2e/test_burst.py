"""``pacsless burst`` against the whole stack."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.conftest import Stack
from tests.ports import free_ports

pytestmark = pytest.mark.stack


def searches(stack: Stack) -> int:
    return stack.settings.access_log.read_text().count('"path":"/dicom-web/studies"')


def test_a_small_burst_arrives_everywhere(stack: Stack) -> None:
    before = searches(stack)
    result = stack.run(
        "burst", "--instances", "50", "--studies", "3", "--senders", "2", "--patience", "120",
        "--interval", "0.2", "--after", "3", "--json",
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
    # Asking on would keep the workers of load_doris busy with the access log.
    arrived = [one["at"] for one in told["samples"] if one["loaded"] == 50 and one["backlog"] == 0]
    assert len(arrived) > 5
    assert searches(stack) - before == len(told["samples"]) - len(arrived) + 1
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


def test_another_archive_is_watched_everywhere_by_its_settings(stack: Stack) -> None:
    admin = stack.settings.ports.scp_gateway_admin
    result = stack.run(
        "burst", "--instances", "8", "--host", "127.0.0.1", "--port", str(stack.dicom_port),
        "--dicomweb", f"{stack.url}/dicom-web", "--settings", "--interval", "0.2", "--json",
        "--gateway", f"http://127.0.0.1:{admin}/metrics",
        "--workers-command", r"printf 'rel-extract-tags 2\nrel-load-doris <none>\n'",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["problems"] == []
    for milestone in ("indexed", "described", "loaded"):
        assert told[milestone]["count"] == 8, milestone
    last = told["samples"][-1]
    assert (last["outbox"], last["backlog"]) == (0, 0)
    assert {"extract_tags", "build_metadata", "load_doris"} <= set(last["lag"])
    counted = [one["workers"] for one in told["samples"] if one["workers"]]
    assert counted[-1] == {"extract_tags": 2, "load_doris": 0}

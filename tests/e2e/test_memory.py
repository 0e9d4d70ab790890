"""Whatever functions are asked for, of whatever was sent, a process holds 256 MiB at most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3

from bench.parts import peak_memory
from pacsless.functions import load_functions
from tests.dicom_files import SAMPLES, bundled
from tests.e2e.conftest import Stack, temporary_stack
from tests.e2e.test_samples import quiet, send
from tests.eventually import eventually

pytestmark = pytest.mark.timeout(900)
MOST = 256.0
"""MiB."""
HTTP = urllib3.PoolManager(maxsize=8, timeout=120, retries=False)
EXPLICIT = "transfer-syntax=1.2.840.10008.1.2.1"


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack of its own: other tests send the same instances, encoded anew."""
    with temporary_stack(request, {"PACSLESS_RECONCILE_REPAIR": "no"}) as running:
        yield running


def some() -> Iterator[Path]:
    """Of each kind a few files, of the hostile ones all."""
    if not SAMPLES.is_dir():
        yield from bundled()
        return
    for folder in sorted(path for path in SAMPLES.rglob("*") if path.is_dir()):
        files = sorted(folder.glob("*.dcm"))
        yield from files if folder.name == "hostile" else files[:3]


def questions(one: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Paths, and what is accepted, that have an instance read in every way there is."""
    study = f"/dicom-web/studies/{one['study_instance_uid']}"
    series = f"{study}/series/{one['series_instance_uid']}"
    instance = f"{series}/instances/{one['sop_instance_uid']}"
    parts = 'multipart/related; type="{}"'
    yield instance, parts.format("application/dicom")
    yield instance, f"application/dicom; {EXPLICIT}"
    for resource in (study, series, instance):
        yield f"{resource}/metadata", "application/dicom+json"
        yield f"{resource}/thumbnail", "image/jpeg"
    yield f"{study}/metadata", parts.format("application/dicom+xml")
    yield f"{instance}/rendered", "image/png"
    yield f"{instance}/rendered", "*/*"
    yield f"{instance}/rendered?viewport=2048,2048&annotation=patient,technique", "image/jpeg"
    yield f"{instance}/frames/1", parts.format("*/*")
    yield f"{instance}/frames/1", parts.format("application/octet-stream")
    yield f"{instance}/bulkdata/7FE00010", "*/*"
    uids = "&".join(
        f"{name}={one[key]}"
        for name, key in (
            ("studyUID", "study_instance_uid"),
            ("seriesUID", "series_instance_uid"),
            ("objectUID", "sop_instance_uid"),
        )
    )
    yield f"/wado?requestType=WADO&{uids}", "*/*"
    yield f"/wado?requestType=WADO&{uids}&contentType=application/dicom&anonymize=yes", "*/*"
    yield f"{study}/instances?includefield=all", "application/dicom+json"


def ask(origin: str, path: str, accept: str) -> int:
    """Read an answer to its end, and return its status."""
    headers = {"Accept": accept}
    with HTTP.request("GET", origin + path, headers=headers, preload_content=False) as answer:
        for _ in answer.stream(1 << 20):
            pass
        return answer.status


def test_memory_stays_bounded(stack: Any) -> None:
    summary = send(stack, *some())
    stored = [one for one in summary["files"] if one["status"] == 0]
    assert len(stored) > 50
    eventually(lambda: quiet(stack), within=300)
    with ThreadPoolExecutor(4) as pool:
        statuses = Counter(
            pool.map(
                lambda asked: ask(stack.url, *asked),
                (asked for one in stored for asked in questions(one)),
            )
        )
    assert statuses[200] > 3 * len(stored), statuses
    functions = load_functions()
    memory = {part: held for part, held in peak_memory(stack.settings).items() if part in functions}
    assert {"wado_rs", "rendered", "wado_uri", "qido_rs"} <= memory.keys()
    assert not {part: held for part, held in memory.items() if held > MOST}

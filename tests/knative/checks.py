"""What is sent to the archive on Knative, and whether all of it is there, once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydicom.uid import DeflatedExplicitVRLittleEndian

from tests.cluster.acknowledged import Sent, everything_is_found, reconciled
from tests.cluster.release import NAME, Release
from tests.eventually import eventually
from tests.instances import write_studies


def series(folder: Path, count: int, instances: int, *, deflated: bool = False) -> list[Path]:
    """Files of some studies; those that are deflated are converted, too."""
    if deflated:
        return write_studies(folder / "deflated", count, instances, DeflatedExplicitVRLittleEndian)
    return write_studies(folder / "plain", count, instances)


def pacsless(release: Release, *arguments: str) -> str:
    """Run the command in the release."""
    return release.cluster.kubectl(
        "exec", f"deployment/{NAME}-reconcile", "--", "python3.11", "-m", "pacsless", *arguments
    )


def converted(release: Release, sent: Sent) -> bool:
    """Whether each instance that was sent deflated has a rendition."""
    script = """
from pathlib import Path
print(sum(one.is_file() for one in Path("/data/archive/renditions").rglob("*.dcm")))
"""
    told = _python(release, script)
    wanted = {one.file.sop_instance_uid for one in sent.files if "deflated" in str(one.file.path)}
    assert int(told) == len(wanted), (int(told), len(wanted))
    return True


def created_once(release: Release, sent: Sent) -> None:
    """The change feed tells of each instance once, with no gap in its numbers."""
    found: list[dict[str, str | int]] = []
    while page := json.loads(release.read(f"/changefeed?limit=200&offset={len(found)}")):
        found += page
    assert [one["sequence"] for one in found] == list(range(1, len(found) + 1))
    times = Counter(str(one["sopInstanceUid"]) for one in found if one["action"] == "create")
    assert times == Counter({one.file.sop_instance_uid: 1 for one in sent.files})
    assert {one["action"] for one in found} == {"create"}


def nothing_is_lost_or_doubled(release: Release, sent: Sent) -> None:
    everything_is_found(release, sent)
    eventually(lambda: converted(release, sent), within=240)
    reconciled(release, settle=0)
    created_once(release, sent)
    # A row for each C-STORE, though its event may have come to the warehouse twice.
    eventually(lambda: received(release) == len(sent.files), within=120)


def received(release: Release) -> int:
    """Rows of the warehouse's log of what came in."""
    script = """
from pacsless.settings import Settings
from pacsless.warehouse_sql import WarehouseSql
warehouse = WarehouseSql.from_settings(Settings.from_environ())
print(warehouse.ask("SELECT COUNT(*) FROM dicom_receive_log").rows[0][0])
"""
    return int(_python(release, script))


def _python(release: Release, script: str) -> str:
    """Run a script in the release."""
    return release.cluster.kubectl(
        "exec", f"deployment/{NAME}-reconcile", "--", "python3.11", "-c", script
    )


def letters(release: Release) -> list[dict[str, Any]]:
    """Dead letters that wait. One event may have several, as any delivery may happen twice."""
    told = json.loads(pacsless(release, "dlq", "list", "--each", "--json"))
    found: list[dict[str, Any]] = told["dead_letters"]
    return found


def poison(release: Release) -> None:
    """Put an event on a topic whose data breaks its schema."""
    script = """
import os, kafka
producer = kafka.KafkaProducer(bootstrap_servers=os.environ["PACSLESS_KAFKA"].split(","))
attributes = {
    "id": "00000000-0000-4000-8000-000000000000", "source": "/test", "specversion": "1.0",
    "type": "org.pacsless.instance.stored.v1", "time": "2026-11-28T12:00:00Z",
}
headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
headers.append(("content-type", b"application/json"))
producer.send("storage_queue", key=b"default/1.2.3", value=b"{}", headers=headers).get(30)
"""
    _python(release, script)

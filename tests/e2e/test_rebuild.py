"""The whole stack from the files alone, and its timer's function."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pymysql
import urllib3
from pydicom.uid import ExplicitVRBigEndian

from pacsless import timer
from pacsless.stack.supervision import Supervisor
from tests.e2e.test_samples import quiet, send
from tests.eventually import eventually
from tests.instances import encode, make_dataset, write_series

_TABLES = ("patient", "study", "series", "instance", "metadata_document")
_WAREHOUSE = {"dicom_state_meta": ("event_seq", "updated_at"), "dicom_image_meta": ("event_seq",)}


def snapshot(stack: Any) -> dict[str, Any]:
    """Everything derived, less revisions and the times of changes."""
    found: dict[str, Any] = {}
    for table in _TABLES:
        found[table] = [
            row[0]
            for row in stack.sql(
                f"SELECT to_jsonb(t) - 'revision' - 'updated_at' - 'built_at' FROM {table} t"
                " ORDER BY 1"
            )
        ]
    with pymysql.connect(**stack.mysql) as connection:
        for table, left_out in _WAREHOUSE.items():
            with connection.cursor(pymysql.cursors.DictCursor) as cursor:
                cursor.execute(f"SELECT * FROM {table}")
                rows = list(cursor.fetchall())
            found[table] = sorted(
                repr({name: value for name, value in row.items() if name not in left_out})
                for row in rows
            )
    metadata = stack.archive_root / "metadata"
    found["documents"] = {
        path.relative_to(metadata).as_posix(): path.read_bytes()
        for path in metadata.rglob("*.json*")
    }
    return found


def answers(stack: Any) -> bool:
    try:
        pymysql.connect(**stack.mysql).close()
    except pymysql.MySQLError:
        return False
    return True


def test_everything_derived_is_made_again_from_the_files(stack: Any, tmp_path: Path) -> None:
    _, paths = write_series(tmp_path, 6)
    paths.append(tmp_path / "big-endian.dcm")
    paths[-1].write_bytes(encode(make_dataset(pixels=bytes(8)), ExplicitVRBigEndian))
    assert {one["status"] for one in send(stack, *paths)["files"]} == {0}
    eventually(lambda: quiet(stack), within=240)
    before = snapshot(stack)
    assert all(before.values())

    supervisor = Supervisor(stack.settings)
    supervisor.stop(["warehouse"])
    shutil.rmtree(stack.settings.data("warehouse"))
    stack.settings.data("warehouse").mkdir(mode=0o700)
    supervisor.start(["warehouse"])
    stack.sql(f"TRUNCATE {', '.join(_TABLES)}, change, change_feed CASCADE")
    stack.sql("ALTER SEQUENCE revision RESTART")
    shutil.rmtree(stack.archive_root / "metadata")
    eventually(lambda: answers(stack), within=120)
    assert not any(snapshot(stack).values())

    told = stack.run("rebuild", "--tenant", "default", "--json")
    assert told.returncode in (0, 1), told.stderr
    done = json.loads(told.stdout)
    assert done["finished"] and done["instances"] >= len(before["instance"])
    assert snapshot(stack) == before

    compared = stack.run("reconcile", "--settle", "0", "--scrub", "all", "--json")
    (report,) = json.loads(compared.stdout)
    # Files that no function can read, if other tests have sent some.
    assert set(report["drift"]) <= {"file-without-row", "file-unreadable"}
    assert compared.returncode == (1 if report["drift"] else 0)
    assert report["scrubbed"] == len(before["instance"])


def test_the_function_takes_a_tick_of_the_timer(stack: Any) -> None:
    url = f"http://127.0.0.1:{stack.settings.ports.functions['reconcile']}"
    assert timer.tick("reconcile", url) == 200
    answer = urllib3.request("POST", f"{url}/?tenant=default", body=b"{}")
    (report,) = answer.json()
    assert (report["tenant"], report["finished"]) == ("default", True)
    assert urllib3.request("GET", url).status == 405
    assert urllib3.request("POST", f"{url}/?tenant=../x", body=b"{}").status == 400

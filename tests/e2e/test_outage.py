"""What is down comes back, and what was acknowledged meanwhile is there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
import urllib3

from pacsless.stack.supervision import Supervisor
from tests.e2e.test_samples import quiet, send
from tests.eventually import eventually
from tests.instances import write_series

HTTP = urllib3.PoolManager(retries=False)


@pytest.fixture
def without(stack: Any) -> Iterator[Any]:
    """Function that stops a part; whatever it stopped runs again in the end."""
    supervisor = Supervisor(stack.settings)
    stopped: list[str] = []

    def stop(name: str) -> None:
        stopped.append(name)
        supervisor.stop([name])

    yield stop
    supervisor.start(stopped)
    eventually(lambda: {part["state"] for part in stack.status()["parts"]} == {"RUNNING"})


def test_kafka_stopped_while_sending(stack: Any, without: Any, tmp_path: Path) -> None:
    study, paths = write_series(tmp_path, 40)
    without("kafka")
    summary = send(stack, *paths)
    assert [one["status"] for one in summary["files"]] == [0] * len(paths)
    url = f"{stack.url}/dicom-web/studies/{study}"
    metadata = HTTP.request("GET", f"{url}/metadata")
    assert metadata.status == 200 and len(metadata.json()) == len(paths), "readers do not wait"

    Supervisor(stack.settings).start(["kafka"])
    eventually(lambda: quiet(stack), within=180)
    found = HTTP.request("GET", f"{stack.url}/dicom-web/studies?StudyInstanceUID={study}").json()
    assert found[0]["00201208"]["Value"] == [len(paths)]


def test_postgresql_and_redis_stopped_while_reading(
    stack: Any, without: Any, tmp_path: Path
) -> None:
    study, paths = write_series(tmp_path, 3)
    send(stack, *paths)
    eventually(lambda: quiet(stack), within=120)
    without("redis")
    without("postgres")
    url = f"{stack.url}/dicom-web/studies/{study}"
    assert len(HTTP.request("GET", f"{url}/metadata").json()) == 3
    answer = HTTP.request(
        "GET", url, headers={"Accept": "multipart/related; type=application/dicom"}
    )
    assert answer.status == 200
    search = HTTP.request("GET", f"{stack.url}/dicom-web/studies")
    assert search.status == 503 and "Retry-After" in search.headers


def test_the_warehouse_stopped_while_sending(stack: Any, without: Any, tmp_path: Path) -> None:
    study, paths = write_series(tmp_path, 5)
    without("warehouse")
    dead = stack.status()["dead_letters"]
    assert [one["status"] for one in send(stack, *paths)["files"]] == [0] * 5
    Supervisor(stack.settings).start(["warehouse"])

    def rows() -> int:
        try:
            with pymysql.connect(**stack.mysql) as connection, connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM dicom_image_meta WHERE study_instance_uid = %s", (study,)
                )
                row = cursor.fetchone()
                return int(row[0]) if row else 0
        except pymysql.err.OperationalError:
            return 0

    eventually(lambda: rows() == 5, within=120)
    assert stack.status()["dead_letters"] == dead, "a warehouse that is down makes no dead letters"


def test_the_mariadb_client_groups(stack: Any, tmp_path: Path) -> None:
    study, paths = write_series(tmp_path, 4)
    send(stack, *paths)

    query = (
        "SELECT transfer_syntax_uid, count(*) FROM dicom_image_meta "
        f"WHERE study_instance_uid = '{study}' GROUP BY transfer_syntax_uid"
    )
    command = ["mysql", "-h", "127.0.0.1", "-P", str(stack.mysql_port), "-u", "root", "-N", "-B"]

    def answer() -> str:
        return subprocess.run(
            [*command, "pacsless", "-e", query],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout.strip()  # fmt: skip

    assert eventually(answer).split("\t")[0].startswith("1.2.840.10008.1.2")
    eventually(lambda: answer().endswith("\t4"))

"""``pacsless wait-for`` with real parts, and what ``migrate`` and ``topics`` say without them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pacsless.warehouse import Warehouse
from tests.eventually import eventually
from tests.ports import free_ports
from tests.services import REPOSITORY, KafkaBroker, PostgresServer, RedisServer

SECRET = "s3cret-word"


def pacsless(*arguments: str, **settings: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run the command as a pod would; return what it said, and how long that took."""
    environ = {name: text for name, text in os.environ.items() if "PACSLESS" not in name}
    environ |= {f"PACSLESS_{name}": text for name, text in settings.items()}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pacsless", *arguments],
        cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done, time.monotonic() - began


def test_what_is_there_is_not_waited_for(
    redis_server: RedisServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    done, _ = pacsless(
        "wait-for", "postgres", "redis", "archive",
        POSTGRES=postgres.settings.postgres,
        REDIS=redis_server.settings.redis, ARCHIVE=f"file://{tmp_path}/archive",
        # The image's root is read-only, and who waits has no spool.
        SPOOL="/proc/nowhere",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split()[0] for line in done.stdout.splitlines()} == {
        "postgres", "redis", "archive",
    }  # fmt: skip


@pytest.mark.kafka
def test_a_broker_is_asked_as_its_clients_do(kafka: KafkaBroker) -> None:
    done, _ = pacsless("wait-for", "kafka", KAFKA=kafka.servers[0])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kafka answers, after ")


def test_the_warehouse_is_asked_by_both_its_protocols(tmp_path: Path) -> None:
    with Warehouse(tmp_path, fe_port=0, be_port=0, mysql_port=0, password=SECRET) as warehouse:
        there = {
            "DORIS": f"http://127.0.0.1:{warehouse.fe_port}",
            "DORIS_MYSQL": f"127.0.0.1:{warehouse.mysql_port}",
        }
        done, _ = pacsless("wait-for", "doris", **there, DORIS_PASSWORD=SECRET)
        assert done.returncode == 0, done.stderr
        done, _ = pacsless("wait-for", "--timeout", "2", "doris", **there, DORIS_PASSWORD="no")
        assert done.returncode == 1
        assert "refuses PACSLESS_DORIS_USER or PACSLESS_DORIS_PASSWORD" in done.stderr
        (nobody,) = free_ports(1)
        there["DORIS_MYSQL"] = f"127.0.0.1:{nobody}"
        done, _ = pacsless("wait-for", "--timeout", "2", "doris", **there, DORIS_PASSWORD=SECRET)
        assert done.returncode == 1
        assert f"127.0.0.1:{nobody}: nothing listens there" in done.stderr


def test_who_is_not_there_is_named_with_reason_and_setting(postgres: PostgresServer) -> None:
    (nobody,) = free_ports(1)
    done, took = pacsless(
        "wait-for", "--timeout", "3", "kafka", "postgres", "redis", "doris",
        KAFKA=f"user:{SECRET}@kafka.invalid:9092", POSTGRES=postgres.settings.postgres,
        REDIS=f"redis://:{SECRET}@127.0.0.1:{nobody}/0",
        DORIS=f"http://root:{SECRET}@doris.invalid:8030", DORIS_PASSWORD=SECRET,
    )  # fmt: skip
    assert done.returncode == 1
    assert took < 20
    assert "not everything answers after 3 s" in done.stderr
    told = done.stderr.partition("pacsless: ")[2]
    for line in (
        "kafka: cannot reach Kafka: kafka.invalid:9092: its name cannot be resolved",
        f"redis: 127.0.0.1:{nobody}: nothing listens there; check PACSLESS_REDIS",
        "doris: doris.invalid:8030: its name cannot be resolved; check PACSLESS_DORIS,",
    ):
        assert line in told, done.stderr
    assert "postgres answers" in done.stdout
    assert "postgres:" not in told


def test_a_password_of_redis_that_is_wrong_or_missing_is_said(redis_server: RedisServer) -> None:
    redis_server.client.config_set("requirepass", SECRET)
    right = redis_server.settings.redis.replace("redis://", f"redis://:{SECRET}@")
    assert pacsless("wait-for", "redis", REDIS=right)[0].returncode == 0
    for url, told in (
        (right.replace(SECRET, "other"), "refuses our user or password"),
        (redis_server.settings.redis, "asks for a password"),
    ):
        done, _ = pacsless("wait-for", "--timeout", "1", "redis", REDIS=url)
        assert done.returncode == 1
        assert told in done.stderr


@pytest.mark.parametrize("password", ["12/34", "a#b", "a?b", "[x"])
@pytest.mark.parametrize("command", ["migrate", "wait-for"])
def test_a_password_that_tears_the_address_apart_is_not_told(command: str, password: str) -> None:
    arguments = ("wait-for", "postgres", "redis") if command == "wait-for" else ("migrate",)
    done, took = pacsless(
        *arguments,
        POSTGRES=f"postgresql://pacsless:{password}{SECRET}@127.0.0.1/pacsless",
        REDIS=f"redis://pacsless:{password}{SECRET}@127.0.0.1/0",
    )
    assert done.returncode == 1
    assert took < 20
    assert "PACSLESS_" in done.stderr and "percent-encoded" in done.stderr
    assert password not in done.stderr


@pytest.mark.parametrize("command", ["migrate", "topics"])
def test_a_hook_ends_soon_and_says_who_is_missing(command: str) -> None:
    (nobody,) = free_ports(1)
    for where, why in (
        (f"127.0.0.1:{nobody}", "nothing listens there"),
        ("db.invalid:5432", "its name cannot be resolved"),
    ):
        done, took = pacsless(
            command, KAFKA=where, POSTGRES=f"postgresql://pacsless:{SECRET}@{where}/pacsless"
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert took < 30
        assert why in done.stderr and where in done.stderr
        assert f"PACSLESS_{'KAFKA' if command == 'topics' else 'POSTGRES'}" in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("command", ["migrate", "topics"])
def test_a_hook_waits_for_no_server_that_is_silent(command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        done, took = pacsless(
            command, KAFKA=where, POSTGRES=f"postgresql://pacsless:{SECRET}@{where}/pacsless"
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert took < 60
    assert where in done.stderr


def test_a_wrong_database_is_said(postgres: PostgresServer) -> None:
    url = postgres.settings.postgres.rpartition("/")[0] + "/nowhere"
    done, _ = pacsless("migrate", POSTGRES=url)
    assert done.returncode == 1
    assert "no such database, check PACSLESS_POSTGRES" in done.stderr


def test_no_cache_is_nothing_to_wait_for() -> None:
    assert pacsless("wait-for", "redis", REDIS="")[0].returncode == 0


def test_an_archive_that_cannot_be_is_said() -> None:
    done, _ = pacsless("wait-for", "--timeout", "1", "archive", ARCHIVE="file:///proc/nowhere")
    assert done.returncode == 1
    assert "archive: cannot make the archive's folder" in done.stderr


def test_a_burst_at_an_archive_that_is_away_tells_no_password() -> None:
    (nobody,) = free_ports(1)
    where = f"127.0.0.1:{nobody}"
    done, _ = pacsless(
        "burst", "--instances", "1", "--host", "127.0.0.1", "--port", str(nobody),
        "--dicomweb", f"http://u:{SECRET}@{where}/dicom-web", "--settings", "--patience", "1",
        "--gateway", f"http://u:{SECRET}@{where}/metrics",
        KAFKA=where, POSTGRES=f"postgresql://u:{SECRET}@{where}/x", DORIS_MYSQL=where,
        DORIS_PASSWORD=SECRET,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"PostgreSQL at {where} does not answer: nothing listens there" in done.stderr
    assert f"the warehouse at {where} does not answer" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("trigger", "--function", "load_doris", "--target", "http://127.0.0.1:1"),
        ("access-log", "--log", "log", "--position", "position", "--nginx-pid", "pid"),
    ],
    ids=lambda one: str(one[0]),
)
def test_what_is_to_stay_logs_whom_it_misses_and_stays(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (nobody,) = free_ports(1)
    line = {
        "time": "2026-11-23T08:00:00+00:00", "method": "GET", "path": "/dicom-web/studies",
        "tenant": "default", "request_id": "a", "status": 200, "bytes_sent": 1,
        "request_time": "0.1", "remote_addr": "127.0.0.1", "user_agent": "x",
    }  # fmt: skip
    (tmp_path / "log").write_text(json.dumps(line) + "\n")
    environ = os.environ | {
        "PACSLESS_KAFKA": f"u:{SECRET}@127.0.0.1:{nobody}",
        "PYTHONPATH": str(REPOSITORY),
    }
    with open(tmp_path / "stderr", "wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "pacsless", *arguments], cwd=tmp_path, env=environ, stderr=log
        )
    try:
        told = eventually(
            lambda: [
                one
                for one in (tmp_path / "stderr").read_text().splitlines()
                if "(PACSLESS_KAFKA)" in one
            ]
        )
        assert f"Kafka at 127.0.0.1:{nobody}" in told[0]
        assert running.poll() is None
    finally:
        running.terminate()
        assert running.wait(60) == 0
    assert SECRET not in (tmp_path / "stderr").read_text()

"""The local stack itself: ready when it says so, one per folder, gone when stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from pacsless.functions import load_functions
from pacsless.stack import lifecycle
from pacsless.stack.errors import StackError
from pacsless.stack.settings import FUNCTIONS, Ports, StackSettings
from tests.e2e.conftest import Stack, running_stack
from tests.eventually import eventually
from tests.ports import free_base

# Who may do what is asked of nobody here: docs/oauth2.md.
RUNNING = {name for name, one in load_functions().items() if one.kind != "authorization"}


def processes(home: Path) -> list[str]:
    """Command lines that name a stack's folder."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    )
    return [line for line in listed.stdout.splitlines() if str(home) in line]


def listeners() -> dict[int, set[str]]:
    """Port to the addresses somebody listens on."""
    found: dict[int, set[str]] = {}
    for table, size in (("tcp", 8), ("tcp6", 32)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A":
                address, _, port = local.partition(":")
                assert len(address) == size
                loopback = {"0100007F", "0000000000000000FFFF00000100007F", "0" * 24 + "01000000"}
                found.setdefault(int(port, 16), set()).add(
                    "loopback" if address in loopback else address
                )
    return found


def test_every_part_runs_and_is_told_of(stack: Stack) -> None:
    told = stack.status()
    names = {part["name"] for part in told["parts"]}
    assert names == {
        "kafka", "postgres", "redis", "warehouse", "scp-gateway", "nginx", "access-log", "timer",
        *RUNNING, *(f"{name}-trigger" for name in told["lag"]),
    }  # fmt: skip
    assert {part["state"] for part in told["parts"]} == {"RUNNING"}
    assert told["problems"] == []
    assert set(told["lag"]) == {"extract_tags", "load_doris", "build_metadata", "transcode"}
    assert told["outbox"]["depth"] >= 0
    table = stack.run("status")
    assert table.returncode == 0
    assert stack.url in table.stdout


def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    found = listeners()
    fed = stack.status()["lag"]
    not_there = {*FUNCTIONS} - RUNNING
    not_there |= {f"{name}_trigger" for name in {*FUNCTIONS} - {*fed}}
    for name, port in stack.settings.ports.as_dict().items():
        if name not in not_there:
            assert found.get(port) == {"loopback"}, name


def test_secrets_and_images_are_readable_to_their_owner_alone(stack: Stack) -> None:
    home = stack.settings.home
    for path in (home / "postgres" / "password", stack.settings.state_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(stack.archive_root.stat().st_mode) == 0o700
    password = (home / "postgres" / "password").read_text().strip()
    for path in (*(home / "etc").iterdir(), *stack.log_folder.iterdir()):
        assert password not in path.read_text(errors="replace"), path


def test_up_again_changes_nothing(stack: Stack) -> None:
    before = {part["name"]: part["pid"] for part in stack.status()["parts"]}
    again = stack.run("up")
    assert again.returncode == 0, again.stderr
    assert {part["name"]: part["pid"] for part in stack.status()["parts"]} == before


@pytest.mark.parametrize("name", ["qido_rs", "nginx", "postgres"])
def test_a_part_that_dies_comes_back(stack: Stack, name: str) -> None:
    def pid() -> int:
        (part,) = (one for one in stack.status()["parts"] if one["name"] == name)
        return int(part["pid"]) if part["state"] == "RUNNING" else 0

    first = pid()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: pid() not in (0, first))
    http = urllib3.PoolManager(retries=False)

    def answers() -> bool:
        try:
            return http.request("GET", f"{stack.url}/dicom-web/studies").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    eventually(answers)


def test_requests_are_in_the_access_log_of_the_warehouse(stack: Stack) -> None:
    import pymysql

    answer = urllib3.request("GET", f"{stack.url}/dicom-web/studies?PatientName=Nobody")
    request_id = answer.headers["X-Request-ID"]

    def rows() -> list[tuple[str, ...]]:
        connection = pymysql.connect(**stack.mysql)
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT route, path FROM wado_access_log WHERE request_id = %s", (request_id,)
            )
            return list(cursor.fetchall())

    assert eventually(rows) == [("search_studies", "/dicom-web/studies")]


def test_a_port_in_use_is_named_with_its_part(stack: Stack, tmp_path: Path) -> None:
    other = StackSettings(home=tmp_path / "other", ports=stack.settings.ports)
    with pytest.raises(StackError) as told:
        lifecycle.up(other)
    assert f"{stack.settings.ports.nginx} (nginx)" in told.value.message
    assert "PACSLESS_PORT_BASE" in told.value.message


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    # Longer than a Unix socket's path may be.
    base = tmp_path_factory.mktemp("second-stack-in-a-folder-with-a-name-of-some-length")
    yield base / ("x" * 60)
    shutil.rmtree(base)


def test_a_second_stack_beside_the_first_leaves_nothing(stack: Stack, folder: Path) -> None:
    with running_stack(folder) as second:
        assert second.url != stack.url
        for one in (stack, second):
            answer = urllib3.request("GET", f"{one.url}/dicom-web/studies")
            assert answer.status in (200, 204)
        assert processes(folder)
        (leader,) = (one for one in processes(folder) if "supervisord" in one)
        # The worst that can happen to it: nobody is left to stop the others.
        os.kill(int(leader.split()[0]), signal.SIGKILL)
        assert second.run("status").returncode == 1
    assert eventually(lambda: not processes(folder))
    assert not set(second.settings.ports.as_dict().values()) & set(listeners())
    assert json.loads(second.run("status", "--json").stdout)["parts"] == []
    assert stack.run("status").returncode == 0


def test_a_part_that_fails_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    settings = StackSettings(home=tmp_path / "home", ports=Ports.at(free_base()))
    (settings.home / "warehouse").mkdir(parents=True)
    (settings.home / "warehouse" / "warehouse.duckdb").write_bytes(b"not a database" * 1000)
    try:
        with pytest.raises(StackError) as told:
            lifecycle.up(settings)
        assert told.value.message.startswith("warehouse does not get ready")
        assert "not a valid DuckDB" in told.value.message
        assert str(settings.logs / "warehouse.log") in told.value.message
    finally:
        assert lifecycle.down(settings)
    assert eventually(lambda: not processes(settings.home))


def test_a_check_of_it_passes(stack: Stack) -> None:
    result = stack.run(
        "check", "--dicomweb", f"{stack.url}/dicom-web", "--dicom",
        f"127.0.0.1:{stack.dicom_port}", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["ok"] and len(told["steps"]) == 5
    ((patient,),) = stack.sql(
        f"SELECT patient_id FROM study WHERE study_instance_uid = '{told['study_instance_uid']}'"
    )
    assert patient == "PACSLESS-CHECK"


def test_what_it_waits_for_is_there(stack: Stack) -> None:
    result = stack.run("wait-for", "kafka", "postgres", "redis", "doris", "archive")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 5

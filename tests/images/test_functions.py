"""Each image of Python starts by itself, as a strict cluster lets it, and does its work."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pymysql
import pytest
import urllib3

from images.layout import OUTPUT
from pacsless.functions import FUNCTIONS_FOLDER, load_functions
from pacsless.settings import Settings
from pacsless.stream_load import StreamLoad
from tests.eventually import eventually
from tests.images.conftest import Unpacked
from tests.images.running import Container, owned, started

_HTTP = urllib3.PoolManager(retries=False, timeout=5)


def answer(container: Container, url: str, within: float = 60) -> bytes:
    def asked() -> bytes:
        try:
            reply = _HTTP.request("GET", url)
        except urllib3.exceptions.HTTPError as error:
            if container.process.poll() is not None:
                pytest.fail(f"it ended: {container.text()}")
            raise AssertionError(str(error)) from None
        assert reply.status == 200, reply.data
        return reply.data

    return eventually(asked, within)


def is_as_promised(container: Container) -> None:
    """Who runs in it, and what they may write to."""
    program = (
        "import os, json, shutil, sys\n"
        "def writable(path):\n"
        "    try:\n"
        "        open(path + '/x', 'w').close()\n"
        "        return True\n"
        "    except OSError:\n"
        "        return False\n"
        "print(json.dumps([os.getuid(), os.getgid(), sys.dont_write_bytecode,\n"
        "    [writable(one) for one in ('/app', '/usr', '/etc', '/tmp')],\n"
        "    [shutil.which(one) for one in ('gcc', 'cc', 'pip', 'pip3', 'sh', 'bash', 'apt')]]))\n"
    )
    done = container.run("python3.11", "-c", program)
    assert done.returncode == 0, done.stderr
    uid, gid, unwritten, writable, there = json.loads(done.stdout)
    assert (uid, gid, unwritten) == (10001, 10001, True)
    assert writable == [False, False, False, True]
    assert there == [None] * 7


@pytest.mark.parametrize("function", load_functions())
def test_a_function_answers(function: str, unpacked: Unpacked, tmp_path: Path) -> None:
    name = function.replace("_", "-")
    data = owned(tmp_path / "data")
    environment = {
        "PACSLESS_ARCHIVE": "file:///data/archive",
        "PACSLESS_PSEUDONYM_KEY": "/data/pseudonym.key",
        "PACSLESS_SPOOL": "/data/spool",
        **({"PACSLESS_OAUTH2_ISSUER": "http://127.0.0.1:9"} if function == "authorize" else {}),
    }
    (data / "pseudonym.key").write_text("0" * 64)
    with started(
        name, unpacked(name), tmp_path, environment=environment, mounts={"/data": data}
    ) as container:
        answer(container, "http://127.0.0.1:8080/healthz")
        is_as_promised(container)
        assert b"python_info" in answer(container, "http://127.0.0.1:8080/metrics")
        # What its requests need beyond starting: everything it could import is there.
        done = container.run("python3.11", "-c", _IMPORT_ALL, f"functions.{function}")
        assert done.returncode == 0, done.stderr
        assert container.stop("TERM") == 0, container.text()


_IMPORT_ALL = """
import importlib, pathlib, sys
package = sys.argv[1]
for file in sorted(pathlib.Path('/app', *package.split('.')).glob('*.py')):
    importlib.import_module(f'{package}.{file.stem}')
"""


@pytest.mark.parametrize("function", [n for n, f in load_functions().items() if f.kind == "event"])
def test_an_event_function_is_its_trigger_too(
    function: str, unpacked: Unpacked, tmp_path: Path
) -> None:
    name = function.replace("_", "-")
    command = [
        "python3.11", "-m", "pacsless", "trigger", "--function", function,
        "--target", "http://127.0.0.1:8080", "--metrics-port", "8161",
    ]  # fmt: skip
    with started(
        name, unpacked(name), tmp_path, command=command, environment={"PACSLESS_KAFKA": _NOBODY}
    ) as container:
        # Without Kafka it goes no further; that it gets so far needs all it imports.
        eventually(lambda: "kafka" in container.text().lower(), 60)
        assert "ModuleNotFoundError" not in container.text(), container.text()
        assert "ImportError" not in container.text(), container.text()


_NOBODY = "127.0.0.1:9"


def test_the_gateway_answers(unpacked: Unpacked, tmp_path: Path) -> None:
    data = owned(tmp_path / "data")
    with started(
        "scp-gateway", unpacked("scp-gateway"), tmp_path,
        environment={"PACSLESS_KAFKA": _NOBODY}, mounts={"/data": data},
    ) as container:  # fmt: skip
        answer(container, "http://127.0.0.1:8081/healthz")
        is_as_promised(container)
        assert (data / "spool").is_dir()
        assert _echo() == 0x0000
        assert container.stop("TERM") == 0, container.text()


def _echo() -> int:
    from pynetdicom import AE
    from pynetdicom.sop_class import Verification

    entity = AE()
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", 11112, ae_title="PACSLESS")
    assert association.is_established
    status = association.send_c_echo()
    association.release()
    return int(status.Status)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"], ["send", "--help"], ["burst", "--help"], ["reconcile", "--help"],
        ["rebuild", "--help"], ["dlq", "--help"], ["trigger", "--help"], ["conflicts", "--help"],
        ["check", "--help"], ["wait-for", "--help"], ["tables", "--help"],
        ["timer", "--help"], ["access-log", "--help"], ["migrate", "--help"], ["topics", "--help"],
    ],
    ids=lambda one: one[0],
)  # fmt: skip
def test_the_command_runs(arguments: list[str], command_root: Path, tmp_path: Path) -> None:
    command = ["python3.11", "-m", "pacsless", *arguments]
    with started("pacsless", command_root, tmp_path, command=command) as container:
        assert container.process.wait(60) == 0, container.text()


@pytest.fixture(scope="module")
def command_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.images.running import unpack

    return unpack("pacsless", tmp_path_factory.mktemp("pacsless"))


def test_the_command_knows_all_functions(command_root: Path, tmp_path: Path) -> None:
    program = "from pacsless.functions import load_functions; print(*load_functions())"
    command = ["python3.11", "-c", program]
    with started("pacsless", command_root, tmp_path, command=command) as container:
        assert container.process.wait(60) == 0, container.text()
        assert container.text().split() == list(load_functions())


def test_the_warehouse_takes_rows_and_tells_them(unpacked: Unpacked, tmp_path: Path) -> None:
    data = owned(tmp_path / "data")
    with started("warehouse", unpacked("warehouse"), tmp_path, mounts={"/data": data}) as container:
        answer(container, "http://127.0.0.1:8030/api/health")
        is_as_promised(container)
        load(container)
        assert container.stop("TERM") == 0, container.text()


def load(container: Container) -> None:
    # By a name, as a Service has: it redirects to the same.
    settings = Settings.from_environ(
        {
            "PACSLESS_DORIS": "http://localhost:8030",
            "PACSLESS_DORIS_REDIRECT_HOSTS": "localhost:8040",
        }
    )
    row = {
        "tenant_id": "default", "study_instance_uid": "1.2", "series_instance_uid": "1.3",
        "sop_instance_uid": "1.4", "target_transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "event_seq": 1, "failed_at": "2026-01-01 00:00:00.000000",
    }  # fmt: skip
    loaded = StreamLoad.from_settings(settings).load("conversion_failure", [row], "one")
    assert loaded.rows == 1, container.text()
    with (
        pymysql.connect(host="127.0.0.1", port=9030, user="root", database="pacsless") as link,
        link.cursor() as cursor,
    ):
        cursor.execute("SELECT sop_instance_uid FROM conversion_failure")
        assert cursor.fetchall() == (("1.4",),)


@pytest.mark.parametrize("function", load_functions())
def test_an_image_is_small(function: str) -> None:
    """150 MB, or 350 where it decodes every picture: imagecodecs alone are 155 with NumPy."""
    project = tomllib.loads((FUNCTIONS_FOLDER / function / "pyproject.toml").read_text())["project"]
    decodes = any(one.startswith("imagecodecs") for one in project["dependencies"])
    size = (OUTPUT / f"{function.replace('_', '-')}.tar").stat().st_size
    assert size <= (350 if decodes else 150) * 1_000_000

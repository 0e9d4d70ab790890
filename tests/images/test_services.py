"""nginx and the services for trials: each starts as a strict cluster lets it, and works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pg8000.dbapi
import pytest
import redis
import urllib3

from pacsless.bus import create_topics
from pacsless.settings import Settings
from tests.eventually import eventually
from tests.images.conftest import Unpacked
from tests.images.running import Container, owned, started

T = TypeVar("T")
PASSWORD = "a-s3cret"
_HTTP = urllib3.PoolManager(retries=False, timeout=5)
_UPSTREAMS = dict.fromkeys(
    ("WADO_RS", "RENDERED", "WADO_URI", "QIDO_RS", "STOW_RS", "ORTHANC", "CHANGE_FEED"),
    "127.0.0.1:9",
)


def once(container: Container, ask: Callable[[], T]) -> T:
    """Ask until it answers, or has ended."""

    def asked() -> tuple[T]:
        try:
            return (ask(),)
        except Exception as error:
            if container.process.poll() is not None:
                pytest.fail(f"it ended: {container.text()}")
            raise AssertionError(str(error)) from error

    return eventually(asked)[0]


def is_restricted(container: Container) -> None:
    assert container.run("id", "-u").stdout.strip() == "10001"
    for place in ("/usr/x", "/etc/x"):
        assert container.run("touch", place).returncode != 0
    assert container.run("touch", "/tmp/x").returncode == 0
    for program in ("gcc", "python3", "perl", "apt-get"):
        assert container.run("sh", "-c", f"command -v {program}").returncode != 0


@pytest.fixture
def nginx(unpacked: Unpacked, tmp_path: Path) -> Iterator[Container]:
    log = owned(tmp_path / "log")
    archive = owned(tmp_path / "archive")
    with started(
        "nginx", unpacked("nginx"), tmp_path, environment=_UPSTREAMS,
        mounts={"/var/log/pacsless": log, "/data/archive": archive},
    ) as container:  # fmt: skip
        once(container, lambda: _get("/healthz"))
        yield container


def _get(path: str, **headers: str) -> urllib3.BaseHTTPResponse:
    return _HTTP.request("GET", f"http://127.0.0.1:8080{path}", headers=headers)


def test_nginx_serves_the_viewer_and_the_description(nginx: Container) -> None:
    is_restricted(nginx)
    page = _get("/")
    assert page.status == 200
    assert b"<html" in page.data.lower()
    described = _HTTP.request(
        "OPTIONS", "http://127.0.0.1:8080/dicom-web", headers={"Accept": "application/json"}
    )
    assert described.status == 200, described.data
    assert "/studies" in "".join(described.json()["paths"])


def test_nginx_writes_what_was_asked_where_the_shipper_reads(
    nginx: Container, tmp_path: Path
) -> None:
    # Nobody is behind it: 503, from nginx itself, and logged.
    assert _get("/dicom-web/studies").status == 503
    log = tmp_path / "log" / "access.log"
    assert '"status":503' in eventually(log.read_text).replace(" ", "")
    assert nginx.stop("QUIT") == 0, nginx.text()


def test_nginx_says_which_upstream_is_missing(unpacked: Unpacked, tmp_path: Path) -> None:
    incomplete = {name: where for name, where in _UPSTREAMS.items() if name != "QIDO_RS"}
    with started("nginx", unpacked("nginx"), tmp_path, environment=incomplete) as container:
        assert container.process.wait(20) == 1
        assert "QIDO_RS is not set" in container.text()


def test_its_configuration_is_what_envsubst_makes(nginx: Container) -> None:
    from pacsless.stack.configuration import NGINX_TEMPLATE, substitute
    from tests.images.running import configuration

    pairs = dict(one.split("=", 1) for one in configuration("nginx")["Env"])
    wanted = substitute(NGINX_TEMPLATE.read_text(), {**pairs, **_UPSTREAMS})
    filled = nginx.run("cat", "/tmp/nginx.conf").stdout
    lines = [line for line in wanted.splitlines() if not line.startswith("#")]
    assert filled.splitlines() == lines


def test_postgres_keeps_its_data(unpacked: Unpacked, tmp_path: Path) -> None:
    data, root = owned(tmp_path / "data"), unpacked("postgres")
    environment = {"PACSLESS_POSTGRES_PASSWORD": PASSWORD}

    def connected(password: str = PASSWORD) -> pg8000.dbapi.Connection:
        return pg8000.dbapi.connect("pacsless", "127.0.0.1", "pacsless", 5432, password, timeout=5)

    with started(
        "postgres", root, tmp_path, environment=environment, mounts={"/data": data}
    ) as container:
        link = once(container, connected)
        is_restricted(container)
        cursor = link.cursor()
        cursor.execute("CREATE TABLE kept AS SELECT 'ä' AS name")
        cursor.execute("SHOW password_encryption")
        assert cursor.fetchone() == ["scram-sha-256"]
        link.commit()
        with pytest.raises(pg8000.dbapi.DatabaseError, match="authentication failed"):
            connected("another")
        # The password is not in what `kubectl exec env` or a crash would show of the server.
        assert PASSWORD not in container.text()
        link.close()
        assert container.stop("INT") == 0, container.text()
    with started("postgres", root, tmp_path, mounts={"/data": data}) as container:
        cursor = once(container, connected).cursor()
        cursor.execute("SELECT name FROM kept")
        assert cursor.fetchone() == ["ä"]


def test_the_schema_goes_into_postgres(unpacked: Unpacked, tmp_path: Path) -> None:
    data, root = owned(tmp_path / "data"), unpacked("postgres")
    url = f"postgresql://pacsless:{PASSWORD}@127.0.0.1:5432/pacsless"
    with started(
        "postgres", root, tmp_path,
        environment={"PACSLESS_POSTGRES_PASSWORD": PASSWORD}, mounts={"/data": data},
    ) as server:  # fmt: skip
        once(server, lambda: pg8000.dbapi.connect("pacsless", "127.0.0.1", password=PASSWORD))
        command = ["python3.11", "-m", "pacsless", "migrate"]
        with started(
            "pacsless", unpacked("pacsless"), tmp_path, command=command,
            environment={"PACSLESS_POSTGRES": url},
        ) as container:  # fmt: skip
            assert container.process.wait(60) == 0, container.text()
            assert "0001_index" in container.text()


def test_postgres_wants_a_password(unpacked: Unpacked, tmp_path: Path) -> None:
    data = owned(tmp_path / "data")
    with started("postgres", unpacked("postgres"), tmp_path, mounts={"/data": data}) as container:
        assert container.process.wait(20) == 1
        assert "PACSLESS_POSTGRES_PASSWORD is not set" in container.text()


@pytest.mark.parametrize("password", ["", PASSWORD])
def test_redis_is_a_cache(password: str, unpacked: Unpacked, tmp_path: Path) -> None:
    environment = {"PACSLESS_REDIS_PASSWORD": password} if password else {}
    with started("redis", unpacked("redis"), tmp_path, environment=environment) as container:
        client = redis.Redis(port=6379, password=password or None)
        assert once(container, client.ping)
        is_restricted(container)
        assert client.config_get("maxmemory*")["maxmemory-policy"] == "allkeys-lru"
        assert int(client.config_get("maxmemory")["maxmemory"]) == 128 << 20
        assert client.config_get("save") == {"save": ""}
        if password:
            with pytest.raises(redis.exceptions.AuthenticationError):
                redis.Redis(port=6379).ping()
        assert container.stop("TERM") == 0, container.text()


def test_kafka_is_formatted_once_and_makes_no_topics_by_itself(
    unpacked: Unpacked, tmp_path: Path
) -> None:
    data, root = owned(tmp_path / "data"), unpacked("kafka")
    environment = {"PACSLESS_KAFKA_ADVERTISED": "localhost:9092"}
    settings = Settings.from_environ({"PACSLESS_KAFKA": "127.0.0.1:9092"})
    mounts = {"/data": data}
    with started("kafka", root, tmp_path, environment=environment, mounts=mounts) as container:
        made = once(container, lambda: create_topics(settings, 2))
        assert "storage_queue" in made
        is_restricted(container)
        assert container.stop("TERM") in (0, 143), container.text()
    identity = (data / "kafka" / "meta.properties").read_text()
    with started("kafka", root, tmp_path, environment=environment, mounts=mounts) as container:
        assert once(container, lambda: create_topics(settings, 2)) == []
        assert (data / "kafka" / "meta.properties").read_text() == identity


@pytest.mark.parametrize("advertised", ["", "kafka", "kafka:", "kafka:x"])
def test_kafka_wants_to_know_its_address(
    advertised: str, unpacked: Unpacked, tmp_path: Path
) -> None:
    environment = {"PACSLESS_KAFKA_ADVERTISED": advertised}
    with started("kafka", unpacked("kafka"), tmp_path, environment=environment) as container:
        assert container.process.wait(20) == 1
        assert "PACSLESS_KAFKA_ADVERTISED" in container.text()

"""The cache on a real Redis: shared, and dispensable at any moment."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from pacsless.cache import Cache
from pacsless.settings import Settings
from tests.eventually import eventually
from tests.ports import free_ports
from tests.services import require


class Server:
    """A Redis server in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_ports(1)[0]
        self.settings = Settings(redis=f"redis://127.0.0.1:{self.port}/0")
        self.client = redis.Redis(port=self.port)
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--dir", str(folder)],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        eventually(self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    require("redis-server")
    one = Server(tmp_path)
    try:
        yield one
    finally:
        one.stop()


def test_processes_share_facts(server: Server) -> None:
    Cache.from_settings(server.settings).put("north", "frames", "k:1", {"a": [1, 2]})
    other = Cache.from_settings(server.settings)
    assert other.get("north", "frames", "k:1") == {"a": [1, 2]}
    assert other.get("south", "frames", "k:1") is None
    [key] = server.client.scan_iter()
    assert key.startswith(b"pacsless:north:")
    assert server.client.ttl(key) > 0


def test_flushing_only_forgets(server: Server) -> None:
    cache = Cache.from_settings(server.settings)
    cache.put("north", "frames", "k:1", 1)
    server.client.flushall()
    assert cache.get("north", "frames", "k:1") == 1
    assert Cache.from_settings(server.settings).get("north", "frames", "k:1") is None


def test_rubbish_in_redis_is_a_miss(server: Server) -> None:
    server.client.set("pacsless:north:frames:k:1", b"\x80\x04 no JSON")
    assert Cache.from_settings(server.settings).get("north", "frames", "k:1") is None


def test_losing_redis_is_a_miss(server: Server) -> None:
    cache = Cache.from_settings(server.settings)
    cache.put("north", "frames", "k:1", 1)
    server.stop()
    assert cache.get("north", "frames", "k:2") is None
    cache.put("north", "frames", "k:2", 2)
    assert cache.get("north", "frames", "k:2") == 2

"""The cache on a real Redis: shared, and dispensable at any moment."""

from __future__ import annotations

from pacsless.cache import Cache
from tests.services import RedisServer


def test_processes_share_facts(redis_server: RedisServer) -> None:
    Cache.from_settings(redis_server.settings).put("north", "frames", "k:1", {"a": [1, 2]})
    other = Cache.from_settings(redis_server.settings)
    assert other.get("north", "frames", "k:1") == {"a": [1, 2]}
    assert other.get("south", "frames", "k:1") is None
    [key] = redis_server.client.scan_iter()
    assert key.startswith(b"pacsless:north:")
    assert redis_server.client.ttl(key) > 0


def test_flushing_only_forgets(redis_server: RedisServer) -> None:
    cache = Cache.from_settings(redis_server.settings)
    cache.put("north", "frames", "k:1", 1)
    redis_server.client.flushall()
    assert cache.get("north", "frames", "k:1") == 1
    assert Cache.from_settings(redis_server.settings).get("north", "frames", "k:1") is None


def test_rubbish_in_redis_is_a_miss(redis_server: RedisServer) -> None:
    redis_server.client.set("pacsless:north:frames:k:1", b"\x80\x04 no JSON")
    assert Cache.from_settings(redis_server.settings).get("north", "frames", "k:1") is None


def test_losing_redis_is_a_miss(redis_server: RedisServer) -> None:
    cache = Cache.from_settings(redis_server.settings)
    cache.put("north", "frames", "k:1", 1)
    redis_server.stop()
    assert cache.get("north", "frames", "k:2") is None
    cache.put("north", "frames", "k:2", 2)
    assert cache.get("north", "frames", "k:2") == 2


def test_several_values_are_held_for_a_while_and_asked_for_at_once(
    redis_server: RedisServer,
) -> None:
    cache = Cache.from_settings(redis_server.settings)
    cache.put_bytes("north", "entry", {"a": b"\0\xff", "b": b""}, 60)
    other = Cache.from_settings(redis_server.settings)
    assert other.get_bytes("north", "entry", ["b", "x", "a"]) == {"a": b"\0\xff", "b": b""}
    assert other.get_bytes("south", "entry", ["a"]) == {}
    assert other.get_bytes("north", "entry", []) == {}
    assert 0 < redis_server.client.ttl("pacsless:north:entry:a") <= 60


def test_losing_redis_loses_the_values_it_alone_had(redis_server: RedisServer) -> None:
    cache = Cache.from_settings(redis_server.settings)
    cache.put_bytes("north", "entry", {"a": b"1"}, 60)
    redis_server.stop()
    assert cache.get_bytes("north", "entry", ["a"]) == {}
    cache.put_bytes("north", "entry", {"b": b"2"}, 60)

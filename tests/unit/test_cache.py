"""The cache forgets, and nothing else goes wrong."""

from __future__ import annotations

import logging
import socket
import time

import pytest

from pacsless.cache import Cache
from pacsless.settings import Settings
from tests.ports import free_ports


def test_without_redis_facts_are_kept_in_the_process() -> None:
    cache = Cache.from_settings(Settings(redis=""))
    assert cache.get("default", "frames", "k") is None
    cache.put("default", "frames", "k", {"a": [1, 2]})
    assert cache.get("default", "frames", "k") == {"a": [1, 2]}


def test_tenants_and_kinds_do_not_meet() -> None:
    cache = Cache()
    cache.put("north", "frames", "k", 1)
    assert cache.get("south", "frames", "k") is None
    assert cache.get("north", "syntax", "k") is None


def test_old_facts_make_room() -> None:
    cache = Cache()
    for number in range(5000):
        cache.put("default", "frames", str(number), number)
    assert cache.get("default", "frames", "0") is None
    assert cache.get("default", "frames", "4999") == 4999


def test_a_dead_redis_is_a_miss_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    port = free_ports(1)[0]
    cache = Cache.from_settings(Settings(redis=f"redis://127.0.0.1:{port}/0"))
    with caplog.at_level(logging.WARNING, "pacsless.cache"):
        for number in range(50):
            assert cache.get("default", "frames", str(number)) is None
            cache.put("default", "frames", str(number), number)
    assert cache.get("default", "frames", "49") == 49
    assert len(caplog.records) == 1


def test_a_silent_redis_costs_one_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        cache = Cache.from_settings(Settings(redis=f"redis://127.0.0.1:{port}/0"))
        began = time.monotonic()
        for number in range(100):
            assert cache.get("default", "frames", str(number)) is None
        # One wait, not a hundred; generous for a busy machine.
        assert time.monotonic() - began < 5

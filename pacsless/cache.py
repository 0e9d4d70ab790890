"""A cache of facts, in this process and behind it in Redis.

Only what can be found out again is kept here, under keys that name the version
of what they are about (a file's size and time), so that nothing in it can be
wrong: emptying it, or losing Redis, changes latency and nothing else. Values
are JSON, or bytes that Redis alone holds. Every key carries the tenant.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, cast

import redis

from pacsless.errors import Unavailable
from pacsless.reach import host_and_port, reach, shown
from pacsless.settings import InvalidSetting, Settings

_log: Final = logging.getLogger(__name__)

_TIMEOUT: Final = 0.1
"""Seconds to wait for Redis: past that, finding out again is quicker."""
_REST: Final = 5.0
"""Seconds without Redis after it failed, so that no request waits for a dead one."""
_LOG_EVERY: Final = 60.0
_LOCAL_ENTRIES: Final = 4096
_EXPIRY: Final = 24 * 3600


class Cache:
    """Facts by tenant, kind and key.

    Parameters
    ----------
    client
        Redis, or None to remember in this process only.
    """

    def __init__(self, client: redis.Redis | None = None) -> None:
        self._client = client
        self._local: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._rest_until = 0.0
        self._logged = float("-inf")

    @classmethod
    def from_settings(cls, settings: Settings, timeout: float = _TIMEOUT) -> Self:
        """Open the cache at ``PACSLESS_REDIS``; does not connect yet.

        Parameters
        ----------
        settings
            Where Redis is.
        timeout
            Seconds to wait for it.
        """
        if not settings.redis:
            return cls()
        return cls(_client(settings, timeout, _TIMEOUT))

    @property
    def is_shared(self) -> bool:
        """Whether what is put here would reach other processes."""
        return self._shared is not None

    @property
    def _shared(self) -> redis.Redis | None:
        """Redis, unless it has failed just now."""
        return self._client if time.monotonic() >= self._rest_until else None

    def get(self, tenant_id: str, kind: str, key: str) -> Any | None:
        """Return the fact, or None if it is not here or Redis does not answer in time."""
        name = _name(tenant_id, kind, key)
        with self._lock:
            if name in self._local:
                self._local.move_to_end(name)
                return self._local[name]
        client = self._shared
        if client is None:
            return None
        try:
            raw = client.get(name)
            value = None if raw is None else json.loads(raw)
        except (redis.RedisError, OSError, ValueError) as error:
            self._failed(error)
            return None
        if value is not None:
            self._remember(name, value)
        return value

    def put(self, tenant_id: str, kind: str, key: str, value: Any) -> None:
        """Remember a fact, JSON, here and in Redis; nothing happens if Redis fails."""
        name = _name(tenant_id, kind, key)
        self._remember(name, value)
        client = self._shared
        if client is None:
            return
        try:
            client.set(name, json.dumps(value, separators=(",", ":")), ex=_EXPIRY)
        except (redis.RedisError, OSError) as error:
            self._failed(error)

    def get_bytes(self, tenant_id: str, kind: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Return those of several values that Redis has, by key; none if it does not answer."""
        client = self._shared
        if client is None or not keys:
            return {}
        try:
            # The client's types leave open whether it is an asynchronous one.
            values = cast(
                "list[bytes | None]",
                client.mget([_name(tenant_id, kind, key) for key in keys]),
            )
        except (redis.RedisError, OSError) as error:
            self._failed(error)
            return {}
        return {key: one for key, one in zip(keys, values, strict=True) if one is not None}

    def put_bytes(
        self, tenant_id: str, kind: str, values: Mapping[str, bytes], seconds: int
    ) -> None:
        """Let Redis hold values for so many seconds; nothing happens if it fails."""
        client = self._shared
        if client is None or not values:
            return
        try:
            with client.pipeline(transaction=False) as pipeline:
                for key, value in values.items():
                    pipeline.set(_name(tenant_id, kind, key), value, ex=seconds)
                pipeline.execute()
        except (redis.RedisError, OSError) as error:
            self._failed(error)

    def _remember(self, name: str, value: Any) -> None:
        with self._lock:
            self._local[name] = value
            self._local.move_to_end(name)
            while len(self._local) > _LOCAL_ENTRIES:
                self._local.popitem(last=False)

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        self._rest_until = now + _REST
        if now - self._logged >= _LOG_EVERY:
            self._logged = now
            _log.warning(
                "Redis does not answer; working without a cache",
                extra={"fields": {"error": type(error).__name__}},
            )


def check(settings: Settings, timeout: float = 5.0) -> None:
    """Ask Redis for a sign of life; nothing happens if none is to be used.

    Raises
    ------
    Unavailable
        ``redis``, with the reason.
    """
    if not settings.redis:
        return
    client = _client(settings, timeout, timeout)
    where = f"Redis at {shown(settings.redis)} (PACSLESS_REDIS)"
    if not settings.redis.startswith("unix:"):
        reach(*host_and_port(settings.redis, "PACSLESS_REDIS", 6379), timeout)
    try:
        client.ping()
    except redis.BusyLoadingError:
        raise Unavailable("redis", f"{where} still loads its data") from None
    except redis.AuthenticationError:
        missing = client.get_connection_kwargs().get("password") is None
        why = "asks for a password" if missing else "refuses our user or password"
        raise Unavailable("redis", f"{where} {why}") from None
    except (redis.RedisError, OSError) as error:
        raise Unavailable("redis", f"{where} does not answer: {type(error).__name__}") from None
    finally:
        client.close()


def _client(settings: Settings, timeout: float, connect_timeout: float) -> redis.Redis:
    try:
        return redis.Redis.from_url(
            settings.redis, socket_timeout=timeout, socket_connect_timeout=connect_timeout
        )
    except ValueError:
        # Its own words quote what it took for a port, which may be half a password.
        raise InvalidSetting(
            "setting",
            "PACSLESS_REDIS must be redis://user:password@host:port/0; / ? # [ and ] of a "
            "password are to be percent-encoded",
        ) from None


def _name(tenant_id: str, kind: str, key: str) -> str:
    # A tenant's name holds no colon (pacsless.identity), so no two tenants' keys meet.
    return f"pacsless:{tenant_id}:{kind}:{key}"

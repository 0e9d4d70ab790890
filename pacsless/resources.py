"""What a function asks for by annotation, built once per process on first use.

A function's parameters after its first say what it needs: ``archive: Archive``,
``database: Database``. `get` builds it from the process's settings: `Settings`
itself, the `Archive`, and any class that has a ``from_settings(settings)`` class
method. So a function installs and imports only what it names.

A resource may have a ``check()`` that raises `Unavailable` when it cannot be
reached; readiness asks it.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from pacsless.archive import Archive, open_archive
from pacsless.settings import Settings

_lock: Final = threading.RLock()
_built: Final[dict[Any, Any]] = {}
_overrides: Final[dict[Any, Any]] = {}


def get(kind: Any) -> Any:
    """Return this process's resource of a kind.

    Parameters
    ----------
    kind
        `Settings`, `Archive`, or a class with ``from_settings``.

    Raises
    ------
    Unavailable
        If it cannot be built now; the next call tries again.
    TypeError
        If `kind` is none of those: the function's signature is wrong.
    """
    if not _overrides and kind in _built:
        return _built[kind]  # as nearly always: threads need not wait for each other
    with _lock:
        if kind in _overrides:
            return _overrides[kind]
        if kind not in _built:
            _built[kind] = _build(kind)
        return _built[kind]


def _build(kind: Any) -> Any:
    if kind is Settings:
        return Settings.from_environ()
    if kind is Archive:
        return open_archive(get(Settings))
    if not buildable(kind):
        raise TypeError(f"{kind!r} has no from_settings(settings)")
    return kind.from_settings(get(Settings))


def buildable(kind: Any) -> bool:
    """Whether `get` knows how to build this kind."""
    return kind in (Settings, Archive) or hasattr(kind, "from_settings")


def needs(function: Callable[..., Any], after: int = 1) -> dict[str, Any]:
    """Read from a function's signature which resources it asks for.

    Parameters
    ----------
    function
        A handler.
    after
        How many leading parameters are not resources; keyword-only parameters
        always are.

    Returns
    -------
    dict
        Parameter name to kind.

    Raises
    ------
    TypeError
        If a parameter's annotation is no resource. Raised at import, so a wrong
        signature never reaches production.
    """
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())[after:]
    for one in parameters:
        if not buildable(one.annotation):
            raise TypeError(f"{function.__name__}: parameter {one.name} names no resource")
    return {one.name: one.annotation for one in parameters}


@contextmanager
def override(resources: Mapping[Any, Any]) -> Iterator[None]:
    """Use these resources instead, for tests: ``with override({Archive: archive}):``."""
    with _lock:
        before = dict(_overrides)
        _overrides.update(resources)
    try:
        yield
    finally:
        with _lock:
            _overrides.clear()
            _overrides.update(before)


# Connections do not survive a fork: a worker builds its own.
os.register_at_fork(after_in_child=_built.clear)

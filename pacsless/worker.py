"""What every function's worker process has: limits, logging, health and metrics.

A function runs under granian or gunicorn (`pacsless.serve`). Limits and
logging belong to that process alone, so they are set on its first request and
never in a test that imports a function.
"""

from __future__ import annotations

import json
import logging
import resource
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from http import HTTPStatus
from typing import Any, Final

from werkzeug.wrappers import Response

from pacsless import log, metrics, resources
from pacsless.errors import PacslessError
from pacsless.garbage import collect_seldom
from pacsless.settings import InvalidSetting, Settings
from pacsless.watchdog import Watchdog

_logger: Final = logging.getLogger(__name__)
_lock: Final = threading.Lock()
_started: Final[set[str]] = set()


class Running:
    """A batch being handled."""

    def __init__(self) -> None:
        self.alone = True
        """Whether no other batch ran in this process at the same time, so that a
        lack of memory is this batch's own doing."""


_running: Final[set[Running]] = set()
_watchdog: Final = Watchdog()


def start(function: str, environ: Mapping[str, Any]) -> Response | None:
    """Set this process up, once, if a server runs it.

    Parameters
    ----------
    function
        Name on every log line.
    environ
        The request's WSGI environment.

    Returns
    -------
    Response or None
        What to answer for as long as a setting is wrong: 503, since that is no
        event's fault.
    """
    if function in _started:
        return None
    with _lock:
        if function in _started:
            return None
        if str(environ.get("SERVER_SOFTWARE", "")).startswith(("Granian", "gunicorn")):
            try:
                settings: Settings = resources.get(Settings)
            except InvalidSetting as error:
                _logger.error("cannot start: %s", error)
                return coded(HTTPStatus.SERVICE_UNAVAILABLE, error.code)
            log.configure(function, settings.log_level)
            # They quote values, and so patients' data.
            warnings.filterwarnings("ignore", module="pydicom")
            limit_memory(settings.memory_limit_mb)
            collect_seldom()
        _started.add(function)
    return None


def limit_memory(mebibytes: int) -> None:
    """Limit this process's memory; what goes beyond raises `MemoryError`; 0 sets no limit.

    RLIMIT_DATA counts what is written to: heap and private mappings. RLIMIT_AS
    would also count what threads and numeric libraries only reserve, gigabytes
    before the first byte is read.
    """
    if mebibytes:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = mebibytes << 20
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


@contextmanager
def running(seconds: float | None) -> Iterator[Running]:
    """Handle a batch within a time limit.

    Parameters
    ----------
    seconds
        When whoever sent it stops waiting; None for never. The process ends
        then, and its server starts another: nothing else stops a decoder that
        loops in C.
    """
    batch = Running()
    with _lock:
        _running.add(batch)
        if len(_running) > 1:
            for one in _running:
                one.alone = False
    try:
        with nullcontext() if seconds is None else _watchdog.over(seconds):
            yield batch
    finally:
        with _lock:
            _running.discard(batch)


def operations(path: str, needs: Iterable[Any]) -> Response | None:
    """Answer ``/healthz``, ``/readyz`` and ``/metrics``; None for any other path.

    Parameters
    ----------
    path
        The request's.
    needs
        Kinds of the resources that must be reachable to be ready.
    """
    match path:
        case "/healthz":
            return coded(200, "alive")
        case "/readyz":
            return _readiness(needs)
        case "/metrics":
            return Response(metrics.page(), content_type=metrics.CONTENT_TYPE)
        case _:
            return None


def _readiness(needs: Iterable[Any]) -> Response:
    for kind in needs:
        try:
            check = getattr(resources.get(kind), "check", None)
            if check is not None:
                check()
        except PacslessError as error:
            return coded(503, error.code)
        except Exception:
            _logger.exception("a resource's check failed")
            return coded(503, "unexpected")
    return coded(200, "ready")


def coded(status: int, code: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a code alone, as every answer to a machine."""
    body = json.dumps({"code": code})
    return Response(body, status, headers, content_type="application/json")

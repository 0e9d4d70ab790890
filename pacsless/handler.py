"""Functions on events: decode, call, publish, map errors to statuses.

::

    @handles(InstanceStored)
    def extract_tags(
        batch: Sequence[Delivered[InstanceStored]], archive: Archive, database: Database
    ) -> Iterable[Event]:

A handler gets a batch (one event is a batch of one) and the resources it names.
The events it returns are published, and acknowledged by the broker, before the
request is answered 204: whoever sent the batch may forget it then. What it
raises becomes a status (`pacsless.errors`) and a body of ``{"code": "…"}``.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import flask
import functions_framework
from werkzeug.wrappers import Response

from pacsless import metrics, resources, worker
from pacsless.bus import Producer
from pacsless.codec import Delivered, decode_http
from pacsless.errors import PacslessError, Unprocessable
from pacsless.events import Event
from pacsless.functions import TIMEOUT_HEADER

Handler = Callable[..., Iterable[Event] | None]

MAX_BODY_BYTES: Final = 64 << 20

_logger: Final = logging.getLogger(__name__)


def handles(*kinds: type[Event]) -> Callable[[Handler], Callable[[flask.Request], Response]]:
    """Make a function on events of these kinds an HTTP function of functions-framework.

    Parameters
    ----------
    kinds
        The events it takes; others are answered 422 ``unexpected-type``.

    Returns
    -------
    callable
        Decorator. The decorated function's first parameter is the batch, a
        sequence of `pacsless.codec.Delivered`; the others are resources by
        annotation (`pacsless.resources`). It keeps the plain handler as
        ``__wrapped__``, which tests may call with a batch and resources.
    """

    def decorate(handler: Handler) -> Callable[[flask.Request], Response]:
        name = handler.__name__
        needs = resources.needs(handler)

        @functools.wraps(handler)
        def function(request: flask.Request) -> Response:
            told = worker.start(name, request.environ) or worker.operations(
                request.path, (*needs.values(), Producer)
            )
            if told is not None:
                return told
            if request.method != "POST":
                return worker.coded(405, "method-not-allowed", {"Allow": "POST"})
            if (request.content_length or 0) > MAX_BODY_BYTES:
                return worker.coded(413, "too-large")
            return _answer(name, handler, kinds, needs, request)

        # Registered for its name; the wrapper it returns would only hide ours.
        functions_framework.http(function)
        return function

    return decorate


def _answer(
    name: str,
    handler: Handler,
    kinds: tuple[type[Event], ...],
    needs: dict[str, Any],
    request: flask.Request,
) -> Response:
    began = time.perf_counter()
    batch: Sequence[Delivered[Event]] = ()
    status, code = 204, "done"
    with worker.running(_timeout(request)) as running:
        try:
            batch = decode_http(dict(request.headers), request.get_data(cache=False))
            if not all(isinstance(one.event, kinds) for one in batch):
                raise Unprocessable("unexpected-type", f"{name} does not take this type of event")
            _handle(name, handler, needs, batch)
        except PacslessError as error:
            status, code = error.status.value, error.code
            _logger.warning("batch not done", exc_info=True, extra={"fields": {"code": code}})
        except (MemoryError, RecursionError) as error:
            # The batch's own doing, unless another ran beside it: then nobody
            # knows whose, and it is tried again.
            code = "memory" if isinstance(error, MemoryError) else "recursion"
            status = 422 if running.alone or code == "recursion" else 500
            _logger.warning("batch not done", exc_info=True, extra={"fields": {"code": code}})
        except Exception:
            status, code = 500, "unexpected"
            _logger.exception("batch failed")
    seconds = time.perf_counter() - began
    metrics.BATCH_SECONDS.labels(name).observe(seconds)
    for kind, count in Counter(one.event.TYPE for one in batch).items():
        metrics.EVENTS.labels(name, kind, code).inc(count)
    fields = {"events": len(batch), "ms": round(seconds * 1000, 1), "outcome": code}
    _logger.info("batch", extra={"fields": fields})
    if status == 204:
        return Response(status=204)
    return worker.coded(status, code, {"Retry-After": "1"} if status in (409, 503) else None)


def _handle(
    name: str, handler: Handler, needs: dict[str, Any], batch: Sequence[Delivered[Event]]
) -> None:
    events = handler(batch, **{key: resources.get(kind) for key, kind in needs.items()})
    published = list(events or ())
    if published:
        resources.get(Producer).publish(published, f"/functions/{name}")
        for kind, count in Counter(event.TYPE for event in published).items():
            metrics.PUBLISHED.labels(name, kind).inc(count)


def _timeout(request: flask.Request) -> float | None:
    try:
        seconds = float(request.headers.get(TIMEOUT_HEADER, ""))
    except ValueError:
        return None
    return seconds if 0 < seconds < 86_400 else None

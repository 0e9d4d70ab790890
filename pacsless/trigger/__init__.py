"""From Kafka to a function: ``pacsless trigger --function extract_tags --target URL``.

With ``--scale`` instead of a target it runs the function's workers, too.

The trigger reads a function's topics and posts batches of their events to it.
Events of a partition are handled in order and one batch at a time, so a study
is in one hand at a time. Offsets are committed when their events are done:
taken by the function, or among the dead letters. `lane` decides, `runner` does;
`scaling` decides how many workers there are, `workers` starts and ends them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pacsless.bus import Consumer, Producer, group_id
from pacsless.errors import Unavailable
from pacsless.functions import FUNCTIONS_FOLDER, InvalidDeclaration, load_functions
from pacsless.garbage import collect_seldom
from pacsless.policy import ScalePolicy, read
from pacsless.settings import Settings
from pacsless.trigger.dead_letters import DeadLetters
from pacsless.trigger.dispatch import Dispatcher
from pacsless.trigger.runner import Runner
from pacsless.trigger.workers import Workers

_logger: Final = logging.getLogger(__name__)


def run(
    function: str,
    target: str | None,
    settings: Settings,
    metrics_port: int | None = None,
    *,
    instance: str = "",
    scale: Mapping[str, Any] | None = None,
    root: Path = FUNCTIONS_FOLDER,
) -> None:
    """Feed a function until SIGTERM or SIGINT.

    Parameters
    ----------
    function
        Its name: a folder in ``functions/`` whose pyproject.toml declares a trigger.
    target
        Its URL; None to run its workers here, as many as the lag calls for.
    settings
        Where Kafka is, and an operator's policies.
    metrics_port
        Port for Prometheus, on the address in HOST (all, unless set); none if None.
    instance
        This trigger's name among those of the function, if it comes back after
        its end (`Consumer`).
    scale
        Settings of `ScalePolicy` that are wanted otherwise.
    root
        Folder of the functions.

    Raises
    ------
    InvalidDeclaration
        If there is no such function, or it takes no events.
    InvalidPolicy
        If a policy says what cannot be.
    Fenced
        If another trigger of the function runs as the same instance.
    """
    overrides = Path(settings.policies) if settings.policies else None
    spec = load_functions(root, overrides).get(function)
    if spec is None or spec.policies is None:
        raise InvalidDeclaration("function", f"there is no function {function} that takes events")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if metrics_port is not None:
        from prometheus_client import start_http_server

        start_http_server(metrics_port, os.environ.get("HOST", "0.0.0.0"))  # noqa: S104
    client_id = f"pacsless-trigger-{function}"
    policies, fed = spec.policies, spec.policies.trigger
    size = read(ScalePolicy, f"{function}.scale", asdict(policies.scale) | dict(scale or {}))
    consumer = _connect(settings, group_id(function), client_id, instance, stop)
    if consumer is None:
        return
    producer = Producer(settings, client_id)
    to: Dispatcher | Workers
    if target is None:
        to = Workers(function, root / function / "main.py", fed, size)
    else:
        to = Dispatcher(target, fed.timeout_s, fed.concurrency)
    collect_seldom()
    _logger.info("trigger started", extra={"fields": {"topics": spec.topics}})
    try:
        Runner(spec, policies, consumer, to, DeadLetters(producer, function)).run(stop)
    finally:
        if isinstance(to, Workers):
            to.close()
        # Letters are with the broker when `bury` returns: nothing is left to lose.
        with contextlib.suppress(Unavailable):
            producer.close()
    _logger.info("trigger stopped")


def _connect(
    settings: Settings, group: str, client_id: str, instance: str, stop: threading.Event
) -> Consumer | None:
    while not stop.is_set():
        try:
            return Consumer(settings, group, client_id, instance)
        except Unavailable as error:
            _logger.warning("no broker yet", extra={"fields": {"text": str(error)}})
            stop.wait(1.0)
    return None

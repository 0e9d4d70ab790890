"""From Kafka to a function: ``pacsless trigger --function extract_tags --target URL``.

The trigger reads a function's topics and posts batches of their events to it.
Events of a partition are handled in order and one batch at a time, so a study
is in one hand at a time. Offsets are committed when their events are done:
taken by the function, or among the dead letters. `lane` decides, `runner` does.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path
from typing import Final

from pacsless.bus import Consumer, Producer, group_id
from pacsless.errors import Unavailable
from pacsless.functions import FUNCTIONS_FOLDER, InvalidDeclaration, load_functions
from pacsless.settings import Settings
from pacsless.trigger.dead_letters import DeadLetters
from pacsless.trigger.dispatch import Dispatcher
from pacsless.trigger.runner import Runner

_logger: Final = logging.getLogger(__name__)


def run(
    function: str,
    target: str,
    settings: Settings,
    metrics_port: int | None = None,
    *,
    root: Path = FUNCTIONS_FOLDER,
) -> None:
    """Feed a function until SIGTERM or SIGINT.

    Parameters
    ----------
    function
        Its name: a folder in ``functions/`` whose pyproject.toml declares a trigger.
    target
        Its URL.
    settings
        Where Kafka is.
    metrics_port
        Port for Prometheus, on the address in HOST (all, unless set); none if None.
    root
        Folder of the functions.

    Raises
    ------
    InvalidDeclaration
        If there is no such function, or it takes no events.
    """
    spec = load_functions(root).get(function)
    if spec is None or spec.trigger is None:
        raise InvalidDeclaration("function", f"no function {function} takes events")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if metrics_port is not None:
        from prometheus_client import start_http_server

        start_http_server(metrics_port, os.environ.get("HOST", "0.0.0.0"))  # noqa: S104
    client_id = f"pacsless-trigger-{function}"
    consumer = _connect(settings, group_id(function), client_id, stop)
    if consumer is None:
        return
    producer = Producer(settings, client_id)
    policy = spec.trigger
    dispatcher = Dispatcher(target, policy.timeout_s, policy.concurrency)
    _logger.info("trigger started", extra={"fields": {"topics": spec.topics}})
    Runner(spec, consumer, dispatcher, DeadLetters(producer, function)).run(stop)
    producer.close()
    _logger.info("trigger stopped")


def _connect(
    settings: Settings, group: str, client_id: str, stop: threading.Event
) -> Consumer | None:
    while not stop.is_set():
        try:
            return Consumer(settings, group, client_id)
        except Unavailable as error:
            _logger.warning("no broker yet", extra={"fields": {"text": str(error)}})
            stop.wait(1.0)
    return None

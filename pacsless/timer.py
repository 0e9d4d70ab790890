"""The local stack's timer: posts to functions at the times they declare.

On Kubernetes a CronJob or a PingSource does it. What a function is sent is what
a PingSource sends, a CloudEvent in binary mode.
"""

from __future__ import annotations

import heapq
import logging
import signal
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import urllib3

from pacsless.codec import now
from pacsless.errors import NotFound
from pacsless.functions import load_functions
from pacsless.schedule import Schedule

TYPE: Final = "dev.knative.sources.ping"
"""CloudEvents ``type`` of a tick."""
_ANSWER_SECONDS: Final = 1800.0
_NOTICE_SECONDS: Final = 0.2
_log: Final = logging.getLogger(__name__)


def run(targets: Mapping[str, str]) -> None:
    """Post to functions by their schedules until SIGTERM or SIGINT; from the main thread.

    Parameters
    ----------
    targets
        Name of a function to its URL.

    Raises
    ------
    NotFound
        If a function has no schedule.
    """
    schedules = {name: spec.schedule for name, spec in load_functions().items()}
    known = {name: found for name, found in schedules.items() if found is not None}
    for name in targets:
        if name not in known:
            raise NotFound("no-schedule", f"{name} has no schedule; {', '.join(known)} have one")
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    keep_time({name: (known[name], url) for name, url in targets.items()}, done)


def keep_time(targets: Mapping[str, tuple[Schedule, str]], done: threading.Event) -> None:
    """Post at the times of each schedule until `done` is set, whatever is not answered by then.

    One at a time: a run that takes longer than its interval leaves out the
    times that have passed.
    """
    start = datetime.now(UTC)
    queue = [(schedule.after(start), name) for name, (schedule, _) in targets.items()]
    heapq.heapify(queue)
    while queue:
        due, name = queue[0]
        # Not one long wait: a clock that is set would be noticed only after it.
        if (seconds := (due - datetime.now(UTC)).total_seconds()) > 0:
            if done.wait(min(seconds, 30)):
                return
            continue
        schedule, url = targets[name]
        if not _answered(name, url, done):
            return
        heapq.heapreplace(queue, (schedule.after(max(due, datetime.now(UTC))), name))


def _answered(name: str, url: str, done: threading.Event) -> bool:
    """Post one tick; return whether its end came before `done`."""
    # Nobody can break off a wait for an answer, which may take half an hour.
    posting = threading.Thread(target=tick, args=(name, url), daemon=True)
    posting.start()
    while posting.is_alive() and not done.is_set():
        posting.join(_NOTICE_SECONDS)
    return not done.is_set()


def tick(name: str, url: str) -> int | None:
    """Post one tick; return the status of the answer, or None if there was none.

    A failure is logged and not tried again: the next tick comes anyway.
    """
    headers = {
        "ce-id": uuid.uuid4().hex,
        "ce-source": "/pacsless/timer",
        "ce-specversion": "1.0",
        "ce-time": now(),
        "ce-type": TYPE,
        "content-type": "application/json",
    }
    fields: dict[str, object] = {"function": name}
    try:
        answer = urllib3.request(
            "POST", url, body=b"{}", headers=headers, retries=False,
            timeout=urllib3.Timeout(connect=5, read=_ANSWER_SECONDS),
        )  # fmt: skip
    except urllib3.exceptions.HTTPError as error:
        _log.warning("no answer", extra={"fields": fields | {"error": type(error).__name__}})
        return None
    fields["status"] = answer.status
    _log.log(
        logging.INFO if answer.status < 400 else logging.WARNING, "tick", extra={"fields": fields}
    )
    return answer.status

"""The local stack's timer: posts to functions at the times they declare.

On Kubernetes a PingSource does it, or a CronJob that runs ``pacsless timer --once``.
What a function is sent is what a PingSource sends, a CloudEvent in binary mode.
"""

from __future__ import annotations

import heapq
import logging
import signal
import threading
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import urllib3

from pacsless.codec import now
from pacsless.errors import NotFound, PacslessError, Unavailable
from pacsless.functions import load_functions
from pacsless.reach import shown
from pacsless.schedule import Schedule

TYPE: Final = "dev.knative.sources.ping"
"""CloudEvents ``type`` of a tick."""
_ANSWER_SECONDS: Final = 1800.0
_NOTICE_SECONDS: Final = 0.2
_AGAIN: Final = (409, 429, 503)
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
    known = _schedules(targets)
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    keep_time({name: (known[name], url) for name, url in targets.items()}, done)


def _schedules(names: Iterable[str]) -> dict[str, Schedule]:
    """Return the schedules there are; each of these functions must have one."""
    schedules = {name: spec.schedule for name, spec in load_functions().items()}
    known = {name: found for name, found in schedules.items() if found is not None}
    for name in names:
        if name not in known:
            raise NotFound("no-schedule", f"{name} has no schedule; {', '.join(known)} have one")
    return known


def once(name: str, url: str, seconds: float = _ANSWER_SECONDS) -> int:
    """Post one tick and return the status of the answer.

    Parameters
    ----------
    name
        Of the function; as Kubernetes spells it will do.
    url
        Its address.
    seconds
        To wait for the answer.

    Raises
    ------
    NotFound
        If the function has no schedule.
    Unavailable
        If there is no answer, or one that says to come again.
    PacslessError
        If the answer is another failure.
    """
    function = name.replace("-", "_")
    _schedules([function])
    where = f"{name} at {shown(url)}"
    try:
        answer = _post(url, seconds)
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable("no-answer", f"{where} does not answer: {_why(error)}") from None
    if answer.status >= 400:
        told = f"{where} answers {answer.status}{_code(answer)}; its log says more"
        raise (Unavailable if answer.status in _AGAIN else PacslessError)("tick", told)
    return answer.status


def _why(error: urllib3.exceptions.HTTPError) -> str:
    match error:
        case urllib3.exceptions.NameResolutionError():
            return "its name cannot be resolved"
        case urllib3.exceptions.ReadTimeoutError():
            return "it took the tick and was not done in time (--timeout)"
        case urllib3.exceptions.LocationValueError():
            return "this is no http:// address"
        case urllib3.exceptions.NewConnectionError():
            return "nothing listens there"
        case urllib3.exceptions.ConnectTimeoutError():
            return "no connection in time"
        case _:
            return type(error).__name__


def _code(answer: urllib3.BaseHTTPResponse) -> str:
    """The function's word for what is wrong, if there is one."""
    try:
        told = answer.json()
    except ValueError:
        return ""
    code = told.get("code") if isinstance(told, dict) else None
    return f" ({code})" if isinstance(code, str) and len(code) < 64 else ""


def _post(url: str, seconds: float) -> urllib3.BaseHTTPResponse:
    headers = {
        "ce-id": uuid.uuid4().hex,
        "ce-source": "/pacsless/timer",
        "ce-specversion": "1.0",
        "ce-time": now(),
        "ce-type": TYPE,
        "content-type": "application/json",
    }
    return urllib3.request(
        "POST", url, body=b"{}", headers=headers, retries=False,
        timeout=urllib3.Timeout(connect=5, read=seconds),
    )  # fmt: skip


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
    fields: dict[str, object] = {"function": name}
    try:
        answer = _post(url, _ANSWER_SECONDS)
    except urllib3.exceptions.HTTPError as error:
        _log.warning("no answer", extra={"fields": fields | {"error": type(error).__name__}})
        return None
    fields["status"] = answer.status
    _log.log(
        logging.INFO if answer.status < 400 else logging.WARNING, "tick", extra={"fields": fields}
    )
    return answer.status

"""Making messages a batch, sending it to a function, and reading its fate from the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
    ReadTimeoutError,
)

from pacsless.bus import Message
from pacsless.codec import BATCH_CONTENT_TYPE, batch, batch_item
from pacsless.errors import Unprocessable
from pacsless.functions import TIMEOUT_HEADER
from pacsless.trigger.actions import Fate, Item

# How much longer than the function itself the trigger waits, so that the worker
# ends first and is not left working on what nobody waits for.
_GRACE_SECONDS: Final = 2.0
_CODE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

# Statuses whose fate is not their class's. 404 and its kind come from a router
# in front of the function or from a wrong address: no event's fault.
_FATES: Final = {
    401: Fate.DOWN,
    403: Fate.DOWN,
    404: Fate.DOWN,
    405: Fate.DOWN,
    408: Fate.FAILED,
    409: Fate.BUSY,
    425: Fate.BUSY,
    429: Fate.BUSY,
    503: Fate.DOWN,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch, and the failure's code."""

    fate: Fate
    code: str


class Target(Protocol):
    """Where batches go."""

    @property
    def ready(self) -> bool:
        """Whether a batch may be handed out now."""

    def send(self, items: Sequence[Item]) -> Outcome:
        """Post a batch and wait for the answer; from any thread."""


class Dispatcher:
    """Posts batches to one function; thread-safe.

    Parameters
    ----------
    target
        The function's URL.
    timeout
        Seconds the function may take.
    concurrency
        Most requests at once.
    """

    def __init__(self, target: str, timeout: float, concurrency: int) -> None:
        self.ready = True
        self._target = target
        self._timeout = timeout
        self._http = urllib3.PoolManager(maxsize=concurrency, retries=False)

    def send(self, items: Sequence[Item]) -> Outcome:
        """Post a batch and wait for the answer."""
        headers = {
            "Content-Type": BATCH_CONTENT_TYPE,
            TIMEOUT_HEADER: f"{self._timeout:g}",
            # A connection per batch reaches every worker behind the socket in
            # turn, and a lost one then always means that this batch was lost.
            "Connection": "close",
        }
        try:
            answer = self._http.request(
                "POST",
                self._target,
                body=batch([one.body for one in items]),
                headers=headers,
                timeout=urllib3.Timeout(connect=5.0, read=self._timeout + _GRACE_SECONDS),
                redirect=False,
            )
        except (NewConnectionError, ConnectTimeoutError, LocationValueError):
            return Outcome(Fate.DOWN, "unreachable")
        except ReadTimeoutError:
            return Outcome(Fate.FAILED, "timeout")
        except (HTTPError, OSError):
            return Outcome(Fate.FAILED, "worker-lost")
        return read_answer(answer.status, answer.data)


def read_answer(status: int, body: bytes) -> Outcome:
    """Read the fate from a function's answer."""
    if 200 <= status < 300:
        return Outcome(Fate.DONE, "")
    code = f"http-{status}"
    try:
        told = json.loads(body)["code"]
        # Only what looks like a code: the answer may be another server's.
        code = told if _CODE.fullmatch(told) else code
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    if status in _FATES:
        return Outcome(_FATES[status], code)
    if 400 <= status < 500:
        return Outcome(Fate.REFUSED, code)
    return Outcome(Fate.FAILED if status >= 500 else Fate.DOWN, code)


def item_of(message: Message) -> Item:
    """Make a message an element of a batch, or a dead letter if it is no CloudEvent."""
    try:
        partition = message.partition
        body = batch_item(
            message.headers, message.value or b"", partition.topic, partition.number, message.offset
        )
        return Item(message, body)
    except Unprocessable as error:
        return Item(message, b"", error.code)

"""Waiting for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], within: float = 60.0) -> T:
    """Call until the answer is truthy and return it; fail after a generous limit (seconds).

    An `AssertionError` inside the condition counts as "not yet" and is shown in the end.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            if found := condition():
                return found
            problem: BaseException = AssertionError("never true")
        except AssertionError as error:
            problem = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {problem}") from problem
        time.sleep(0.05)

"""What a person sees: each step, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print a line."""
    print(f"cluster: {text}", flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is done, and after it how long it took."""
    start = time.monotonic()
    yield
    say(f"{time.monotonic() - start:6.1f} s  {text}")

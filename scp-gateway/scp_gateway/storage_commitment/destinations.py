"""The SCUs results go to, and how they took the last one."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from scp_gateway.storage_commitment.commitment import sender_of
from scp_gateway.storage_commitment.work import Backoff


class Destination:
    """An SCU: one association at a time, and pauses when it is not there."""

    def __init__(self, backoff: tuple[float, float]) -> None:
        self.lock = threading.Lock()
        self.backoff = Backoff(*backoff)
        self.next_at = 0.0
        self.told = ""
        """What the log says is missing in the configuration; nothing if it is complete."""


class Destinations:
    """The SCUs of pending transactions; thread-safe.

    Parameters
    ----------
    backoff
        Shortest and longest pause between two tries, in seconds.
    """

    def __init__(self, backoff: tuple[float, float]) -> None:
        self._backoff = backoff
        self._found: dict[str, Destination] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._found)

    def of(self, name: str) -> Destination:
        """Where the result of a transaction goes."""
        with self._lock:
            return self._found.setdefault(sender_of(name), Destination(self._backoff))

    def keep(self, names: Iterable[str]) -> None:
        """Forget those that no transaction in `names` is for."""
        senders = {sender_of(name) for name in names}
        with self._lock:
            for gone in self._found.keys() - senders:
                del self._found[gone]

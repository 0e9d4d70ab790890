"""What a function under test is given instead of a database and a broker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pacsless.errors import PacslessError
from pacsless.events import Event
from pacsless.settings import Settings


class Ledger:
    """What the function was given, and what it shall do."""

    def __init__(self) -> None:
        self.noted: list[tuple[Any, ...]] = []
        self.error: BaseException | None = None
        self.answer: list[Event] = []
        self.checked: PacslessError | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Ledger:
        return cls()

    def note(self, batch: Iterable[tuple[Any, ...]]) -> Iterable[Event]:
        if self.error is not None:
            raise self.error
        self.noted += batch
        return iter(self.answer)

    def check(self) -> None:
        if self.checked is not None:
            raise self.checked


class Sent:
    """A producer that keeps what it is given instead of sending it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.sources: set[str] = set()
        self.error: PacslessError | None = None

    def publish(self, events: Iterable[Event], source: str) -> None:
        if self.error is not None:
            raise self.error
        self.events += events
        self.sources.add(source)

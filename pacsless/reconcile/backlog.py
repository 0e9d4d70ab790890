"""Never far ahead of the functions: how many events wait for them, and waiting for that to end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Final

from pacsless.bus import Partition, extents, function_lag
from pacsless.errors import Unavailable
from pacsless.events import InstanceIndexed, InstanceStored, SeriesRevised
from pacsless.settings import Settings

_STAGES: Final = (
    {"extract_tags": (InstanceStored.TOPIC,)},
    {
        "build_metadata": (SeriesRevised.TOPIC,),
        "load_doris": (SeriesRevised.TOPIC, InstanceIndexed.TOPIC),
    },
)
"""What the first has handled, the second has before it."""
READERS: Final = _STAGES[0] | _STAGES[1]
"""The functions that make everything derived. An image has one of them, so they stand here."""

MOST: Final = 2000
"""Events that may wait before no more are announced."""
_PAUSE: Final = 0.5
_FRESH: Final = 5.0
"""Seconds for which the broker's answer holds: others announce too."""


class Backlog:
    """Events that were announced and are not handled yet.

    Parameters
    ----------
    settings
        Where Kafka is.
    most
        How many may wait.
    patience
        Seconds to wait for room.

    Attributes
    ----------
    say
        Told how many events wait, whenever that is waited for.
    """

    def __init__(self, settings: Settings, most: int = MOST, patience: float = math.inf) -> None:
        self._settings = settings
        self._most = most
        self._patience = patience
        self.say: Callable[[int], None] = lambda _waiting: None
        self._room = 0
        self._asked = -math.inf

    def waiting(self) -> int:
        """Count the events that wait.

        Raises
        ------
        Unavailable
            ``broker``.
        """
        return self._lag(READERS)

    def _lag(
        self,
        readers: Mapping[str, tuple[str, ...]],
        up_to: Mapping[Partition, range] | None = None,
    ) -> int:
        lag = function_lag(self._settings, readers, up_to=up_to)
        return sum(count for topics in lag.values() for count in topics.values())

    def make_room(self, events: int = 1) -> None:
        """Wait until `events` more may be announced.

        Raises
        ------
        Unavailable
            ``backlog``, if the functions do not get on; ``broker``.
        """
        deadline = time.monotonic() + self._patience
        # The broker is asked once for as many as there is room for, while that is news.
        while self._room < events or time.monotonic() > self._asked + _FRESH:
            waiting = self.waiting()
            if waiting and waiting > self._most - events:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        "backlog",
                        f"{waiting} events wait for the functions: see what pacsless status says",
                    )
                self.say(waiting)
                time.sleep(_PAUSE)
                continue
            self._room = max(events, self._most - waiting)
            self._asked = time.monotonic()
        self._room -= events

    def drain(self) -> None:
        """Wait until the functions have handled what was announced.

        What others announce meanwhile is not waited for: beside senders there may
        be no moment at which nothing waits.

        Raises
        ------
        Unavailable
            ``broker``.
        """
        for readers in _STAGES:
            topics = {topic for names in readers.values() for topic in names}
            up_to = extents(self._settings, topics)
            while waiting := self._lag(readers, up_to):
                self.say(waiting)
                time.sleep(_PAUSE)

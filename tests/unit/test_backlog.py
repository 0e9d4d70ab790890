"""How far ahead of the functions a sweep may be, with a broker that says what it is told."""

from __future__ import annotations

import pytest

from pacsless.errors import Unavailable
from pacsless.reconcile import backlog
from pacsless.reconcile.backlog import Backlog
from pacsless.settings import Settings


class Told(Backlog):
    """Answers with the counts it is given, the last one for ever."""

    def __init__(self, *counts: int, patience: float = 0) -> None:
        super().__init__(Settings(), most=100, patience=patience)
        self.counts, self.asked = list(counts), 0

    def waiting(self) -> int:
        self.asked += 1
        return self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]


def test_the_broker_is_asked_once_for_what_there_is_room_for() -> None:
    told = Told(0)
    for _ in range(100):
        told.make_room()
    assert told.asked == 1
    told.make_room()
    assert told.asked == 2


def test_what_the_broker_said_a_while_ago_counts_no_more() -> None:
    told = Told(0, 1000)
    told.make_room()
    told._asked -= backlog._FRESH
    with pytest.raises(Unavailable, match="1000 events wait"):
        told.make_room()

"""Sending the events of dead letters again, and giving letters up.

One process at a time settles letters, and it says so of each after its event
was acknowledged: killed in between, it or the next sends the event once more,
which changes nothing, as every function is idempotent. An event that fails
again makes a new letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

from pacsless import bus
from pacsless.bus import Lease, Partition, Producer, Waiting
from pacsless.dead_letters.letter import Letter
from pacsless.dead_letters.selection import Selection
from pacsless.events import SETTLED_TOPIC
from pacsless.settings import Settings

_GROUP: Final = "pacsless-dlq"
_BATCH_LETTERS: Final = 200
_BATCH_BYTES: Final = 8 << 20


class Outcome(StrEnum):
    """Why a letter waits no more."""

    REDRIVEN = "redriven"
    """Its event was sent again."""
    DROPPED = "dropped"
    """It was given up."""


def letters(settings: Settings, there: Mapping[Partition, Waiting]) -> Iterator[Letter]:
    """Read the letters that wait, as `pacsless.bus.waiting` found them.

    Raises
    ------
    Unavailable
        ``broker``.
    """
    spans = {
        partition: range(one.first, one.offsets.stop) if one else range(0)
        for partition, one in there.items()
    }
    for message in bus.read(settings, spans):
        if message.offset in there[message.partition]:
            yield Letter(message)


def settle(
    settings: Settings,
    selection: Selection,
    outcome: Outcome,
    there: Mapping[Partition, Waiting],
    settled: Callable[[list[Letter], int], None],
    *,
    patience: float = 60.0,
) -> None:
    """Redrive or drop the selected letters that wait.

    Parameters
    ----------
    settings
        Where the brokers are.
    selection
        Which.
    outcome
        What becomes of them.
    there
        What `pacsless.bus.waiting` found; what came later is not touched.
    settled
        Told which wait no more, and among how many that were read, some at a
        time.
    patience
        Seconds to wait for another process that settles.

    Raises
    ------
    Busy
        ``lease``, if another is at it all that time, or took over.
    Unavailable
        ``broker``. Those that `settled` was not told of wait still.
    """
    producer = Producer(settings, _GROUP)
    try:
        with Lease(settings, _GROUP, SETTLED_TOPIC, patience) as lease:
            now = {
                partition: one.before(there[partition].offsets.stop)
                for partition, one in bus.waiting(settings, selection.read_from).items()
                if partition in there
            }
            for some in _batches(letters(settings, now)):
                lease.keep()
                chosen = [one for one in some if one in selection]
                if outcome is Outcome.REDRIVEN:
                    producer.copy_all((one.event, one.topic) for one in chosen)
                producer.send_records(
                    bus.settlements((one.reference for one in chosen), now, outcome)
                )
                settled(chosen, len(some))
            lease.keep()
            bus.trim(settings)
    finally:
        producer.close()


def _batches(found: Iterable[Letter]) -> Iterator[list[Letter]]:
    some: list[Letter] = []
    size = 0
    for letter in found:
        bytes_ = len(letter.message.value or b"")
        if some and (len(some) >= _BATCH_LETTERS or size + bytes_ > _BATCH_BYTES):
            yield some
            some, size = [], 0
        some.append(letter)
        size += bytes_
    if some:
        yield some

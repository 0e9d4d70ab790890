"""Reading topics as a member of a group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pacsless.bus.connect import MAX_MESSAGE_BYTES, broker_errors, client_options
from pacsless.settings import Settings

if TYPE_CHECKING:
    from kafka import KafkaConsumer


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Position(NamedTuple):
    """What a group has committed for a partition: all before `offset` is done."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A record as it was read."""

    partition: Partition
    offset: int
    timestamp: float
    """Seconds since the epoch, as the producer stated them."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Consumer:
    """A member of a consumer group that commits by itself only what it is told.

    Not thread-safe: one thread makes it and calls it.

    Parameters
    ----------
    settings
        Where the brokers are.
    group
        The group's id.
    client_id
        Name of this part in the broker's logs.

    Raises
    ------
    Unavailable
        ``broker``, if none can be reached.
    """

    def __init__(self, settings: Settings, group: str, client_id: str) -> None:
        raise NotImplementedError

    def subscribe(
        self,
        topics: Iterable[str],
        on_assigned: Callable[[frozenset[Partition]], None],
        on_revoked: Callable[[frozenset[Partition]], Mapping[Partition, Position]],
        on_lost: Callable[[frozenset[Partition]], None],
    ) -> None:
        """Join the group."""

"""Reading topics as a member of a group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from pacsless.bus.connect import broker_errors, client_options, where
from pacsless.bus.membership import heed_fencing, keep_unheard_joins, rejoin_if_forgotten
from pacsless.errors import Unavailable
from pacsless.settings import Settings

if TYPE_CHECKING:
    from kafka import KafkaConsumer

# A fetched chunk is always taken whole: kafka-python 3.0.12 never returns the rest
# of one whose partition is paused in between (its fetcher waits for a slot to be
# None that is only ever emptied). The sizes fetched bound what that can be.
_WHOLE_FETCH: Final = 1_000_000

SESSION: Final = 15.0
"""Seconds without a heartbeat after which a member's partitions go to the others."""
NAMED_SESSION: Final = 45.0
"""Likewise for a member that comes back under its name: time for a pod to be replaced."""


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

    @classmethod
    def of_record(cls, record: Any) -> Self:
        """Take over a record of kafka-python's."""
        return cls(
            Partition(record.topic, record.partition),
            record.offset,
            record.timestamp / 1000,
            record.key,
            record.value,
            tuple(record.headers),
        )


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
    instance
        Name of this member in the group (``group.instance.id``, KIP-345), which
        no other may have at the same time. Whoever comes back with it within
        the session gets the partitions it had, and no other member is disturbed;
        so a named member does not leave the group when it closes. Empty for none.

    Raises
    ------
    Unavailable
        ``broker``, if none can be reached.

    Notes
    -----
    Every method raises `Fenced` once another has joined as the same instance.
    """

    def __init__(self, settings: Settings, group: str, client_id: str, instance: str = "") -> None:
        from kafka import KafkaConsumer
        from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

        with broker_errors(f"cannot connect to {where(settings)}"):
            self._client: KafkaConsumer = KafkaConsumer(
                **client_options(settings, client_id),
                group_id=group,
                group_instance_id=instance or None,
                # Never skip what came before the group existed.
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                # A rebalance leaves the lanes alone that stay here.
                partition_assignment_strategy=[CooperativeStickyAssignor()],
                # A larger record comes too, alone.
                max_partition_fetch_bytes=1 << 20,
                fetch_max_bytes=16 << 20,
                session_timeout_ms=int((NAMED_SESSION if instance else SESSION) * 1000),
                max_poll_interval_ms=120_000,
            )
        keep_unheard_joins(self._client._coordinator)
        self._fenced = heed_fencing(self._client._coordinator)

    def subscribe(
        self,
        topics: Iterable[str],
        on_assigned: Callable[[frozenset[Partition]], None],
        on_revoked: Callable[[frozenset[Partition]], Mapping[Partition, Position]],
        on_lost: Callable[[frozenset[Partition]], None],
    ) -> None:
        """Join the group.

        The callbacks run inside `poll` and `close`, on the client's own thread
        while the caller of `poll` waits: they may use what belongs to the
        caller, but no method of this consumer, and must return well within the
        session's 15 s, as there is no heartbeat meanwhile.

        Parameters
        ----------
        topics
            What to read.
        on_assigned
            Told which partitions are new here.
        on_revoked
            Told which partitions are about to go; returns what to commit for
            them, which reaches the broker before they go.
        on_lost
            Told which partitions are gone already; nothing can be committed.

        Raises
        ------
        Unavailable
            ``broker``; also while one of the topics does not exist.
        """
        from kafka import ConsumerRebalanceListener

        consumer, wanted = self._client, sorted(topics)

        class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
            def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
                on_assigned(_ours(assigned))

            def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
                last = on_revoked(_ours(revoked))
                if last:
                    consumer.commit_async(_theirs(last))

            def on_partitions_lost(self, lost: Iterable[Any]) -> None:
                on_lost(_ours(lost))

        with broker_errors("cannot subscribe"):
            consumer.subscribe(wanted, listener=Listener())
            # A leader that knows no partitions yet would assign none, and again
            # once it does: let it know them before it joins.
            missing = set(wanted) - set(consumer.topics())
        if missing:
            names = ", ".join(sorted(missing))
            raise Unavailable(
                "broker",
                f"cannot subscribe: no topic {names}; pacsless topics makes it",
            )

    def poll(self, timeout: float) -> list[Message]:
        """Read messages and keep the group's membership alive.

        Parameters
        ----------
        timeout
            Seconds to wait for the first one.

        Raises
        ------
        Unavailable
            ``broker``. Poll again later; the client reconnects by itself.
        """
        with broker_errors("cannot read"):
            found = self._client.poll(timeout_ms=int(timeout * 1000), max_records=_WHOLE_FETCH)
            rejoin_if_forgotten(self._client._coordinator)
            for error in self._fenced:
                raise error
        return [Message.of_record(one) for records in found.values() for one in records]

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Read nothing from these for now; they stay ours."""
        with broker_errors("cannot pause"):
            self._client.pause(*map(_their, partitions))

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Read from these again."""
        with broker_errors("cannot resume"):
            self._client.resume(*map(_their, partitions))

    def assignment(self) -> frozenset[Partition]:
        """Return the partitions that are ours."""
        return _ours(self._client.assignment())

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Store positions, and return when the broker has them.

        Raises
        ------
        Unavailable
            ``broker``; also while the group rebalances.
        """
        if positions:
            with broker_errors("cannot commit"):
                self._client.commit(_theirs(positions), timeout_ms=10_000)

    def committed(self, partition: Partition) -> Position | None:
        """Return what the group has committed last.

        Raises
        ------
        Unavailable
            ``broker``.
        """
        with broker_errors("cannot read the committed position"):
            found = self._client.committed(_their(partition), metadata=True, timeout_ms=10_000)
        if found is None or found.offset < 0:
            return None
        return Position(found.offset, found.metadata or "")

    def extents(self, partitions: Iterable[Partition]) -> dict[Partition, range]:
        """Ask for the offsets there are in each: to the one its next message will have.

        Raises
        ------
        Unavailable
            ``broker``.
        """
        wanted = [_their(one) for one in partitions]
        if not wanted:
            return {}
        with broker_errors("cannot read the ends"):
            starts = self._client.beginning_offsets(wanted, timeout_ms=5_000)
            ends = self._client.end_offsets(wanted, timeout_ms=5_000)
        return {
            Partition(one.topic, one.partition): range(starts[one], max(starts[one], ends[one]))
            for one in wanted
        }

    def close(self) -> None:
        """Leave the group, unless it is joined as an instance, without committing more."""
        with broker_errors("cannot close"):
            self._client.close(autocommit=False, timeout_ms=5_000)


def _their(partition: Partition) -> Any:
    from kafka import TopicPartition

    return TopicPartition(partition.topic, partition.number)


def _ours(partitions: Iterable[Any]) -> frozenset[Partition]:
    return frozenset(Partition(one.topic, one.partition) for one in partitions)


def _theirs(positions: Mapping[Partition, Position]) -> dict[Any, Any]:
    from kafka import OffsetAndMetadata

    return {
        _their(partition): OffsetAndMetadata(position.offset, position.metadata, -1)
        for partition, position in positions.items()
    }

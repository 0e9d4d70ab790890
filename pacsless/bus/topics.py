"""Making the topics, and how far behind their readers are."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pacsless.bus.connect import (
    MAX_DEAD_LETTER_BYTES,
    MAX_MESSAGE_BYTES,
    broker_errors,
    client_options,
    reach_one,
    where,
)
from pacsless.bus.consumer import Partition
from pacsless.events import SETTLED_TOPIC, TOPICS, dead_letter_topic
from pacsless.settings import Settings

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

_COORDINATOR_SECONDS: Final = 10.0
_EVENTS: Final = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
# They wait for a person, not for a week.
_KEPT: Final = {"max.message.bytes": str(MAX_DEAD_LETTER_BYTES), "retention.ms": "-1"}


def group_id(function: str, prefix: str = "pacsless-") -> str:
    """Consumer group of a function: ``pacsless-extract-tags``."""
    return prefix + function.replace("_", "-")


@contextmanager
def _admin(settings: Settings, doing: str) -> Iterator[KafkaAdminClient]:
    from kafka import KafkaAdminClient

    with broker_errors(doing):
        client = KafkaAdminClient(**client_options(settings, "pacsless-admin"))
        try:
            yield client
        finally:
            client.close()


def create_topics(settings: Settings, partitions: int = 4, replication: int = -1) -> list[str]:
    """Create every topic, its dead letters, and the log of those settled, unless they exist.

    Parameters
    ----------
    settings
        Where the brokers are.
    partitions
        Of each topic; dead letters and their log have one.
    replication
        Copies of each; the broker's default unless given.

    Returns
    -------
    list of str
        The topics that were created now.

    Raises
    ------
    Unavailable
        ``broker``.
    """
    wanted = dict.fromkeys(TOPICS, partitions)
    kept = {*map(dead_letter_topic, TOPICS), SETTLED_TOPIC}
    wanted |= dict.fromkeys(sorted(kept), 1)
    reach_one(settings)
    with _admin(settings, f"cannot create the topics on {where(settings)}") as client:
        there = set(client.list_topics())
        missing = {topic: count for topic, count in wanted.items() if topic not in there}
        if missing:
            client.create_topics(
                {
                    topic: {
                        "num_partitions": count,
                        "replication_factor": replication,
                        "configs": _KEPT if topic in kept else _EVENTS,
                    }
                    for topic, count in missing.items()
                },
                wait_for_metadata=True,
            )
    return list(missing)


def function_lag(
    settings: Settings,
    subscriptions: Mapping[str, Iterable[str]],
    prefix: str = "pacsless-",
    up_to: Mapping[Partition, range] | None = None,
) -> dict[str, dict[str, int]]:
    """Count the events each function has not handled yet.

    Parameters
    ----------
    settings
        Where the brokers are.
    subscriptions
        Function name to the topics it reads (`pacsless.functions`).
    prefix
        Of the group ids.
    up_to
        `extents` of a moment ago, to count only what was there then.

    Returns
    -------
    dict
        Function to topic to events.

    Raises
    ------
    Unavailable
        ``broker``.
    """
    with lag_reader(settings, subscriptions, prefix, up_to) as read:
        return read()


@contextmanager
def lag_reader(
    settings: Settings,
    subscriptions: Mapping[str, Iterable[str]],
    prefix: str = "pacsless-",
    up_to: Mapping[Partition, range] | None = None,
) -> Iterator[Callable[[], dict[str, dict[str, int]]]]:
    """Ask for `function_lag` time and again over one connection."""
    wanted = {function: sorted(topics) for function, topics in subscriptions.items()}
    with _admin(settings, f"cannot read the lag from {where(settings)}") as client:

        def read() -> dict[str, dict[str, int]]:
            with broker_errors(f"cannot read the lag from {where(settings)}"):
                return _lag(client, wanted, prefix, up_to)

        yield read


def _lag(
    client: Any,
    wanted: dict[str, list[str]],
    prefix: str,
    up_to: Mapping[Partition, range] | None,
) -> dict[str, dict[str, int]]:
    # What is done before how much there is: an event that is handled in
    # between then still counts, and none is counted as done before it came.
    done = {function: _committed(client, group_id(function, prefix)) for function in wanted}
    there = _extents(client, {topic for topics in wanted.values() for topic in topics})
    if up_to is not None:
        # No more than there is: a topic may have been made anew since.
        there = {
            partition: range(one.start, min(one.stop, up_to.get(partition, range(0)).stop))
            for partition, one in there.items()
        }
    return {
        function: {
            topic: sum(
                max(0, one.stop - max(done[function].get(partition, 0), one.start))
                for partition, one in there.items()
                if partition.topic == topic
            )
            for topic in topics
        }
        for function, topics in wanted.items()
    }


def _committed(client: Any, group: str) -> dict[Partition, int]:
    from kafka.errors import (
        CoordinatorLoadInProgressError,
        CoordinatorNotAvailableError,
        NotCoordinatorError,
    )

    deadline = time.monotonic() + _COORDINATOR_SECONDS
    while True:
        try:
            found = client.list_group_offsets([group]).get(group, {})
        except (
            CoordinatorNotAvailableError,
            CoordinatorLoadInProgressError,
            NotCoordinatorError,
        ):
            # A fresh broker makes the offsets' topic when it is first asked.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return {Partition(one.topic, one.partition): at.offset for one, at in found.items()}


def check(settings: Settings) -> None:
    """Ask a broker for its topics.

    Raises
    ------
    Unavailable
        ``broker``, with the reason.
    """
    reach_one(settings)
    # Past its first address a broker is talked to by the one it names itself.
    doing = f"{_asking(settings)}, or not by the address it names itself (advertised.listeners)"
    with _admin(settings, doing) as client:
        client.list_topics()


def _asking(settings: Settings) -> str:
    return f"cannot ask {where(settings)}"


def extents(settings: Settings, topics: Collection[str]) -> dict[Partition, range]:
    """Find the offsets there are in every partition of those topics that exist.

    Raises
    ------
    Unavailable
        ``broker``.
    """
    with _admin(settings, _asking(settings)) as client:
        return _extents(client, topics)


def topic_ids(settings: Settings, topics: Collection[str]) -> dict[str, str]:
    """Find the id Kafka gave each of those topics that exist; one made anew has another.

    Raises
    ------
    Unavailable
        ``broker``.
    """
    with _admin(settings, _asking(settings)) as client:
        found = client.describe_topics()
    return {one["name"]: str(one["topic_id"]) for one in found if one["name"] in topics}


def delete_before(settings: Settings, offsets: Mapping[Partition, int]) -> None:
    """Delete the records before an offset of each partition.

    Raises
    ------
    Unavailable
        ``broker``.
    """
    from kafka import TopicPartition

    if offsets:
        with _admin(settings, "cannot delete what is settled") as client:
            client.delete_records({TopicPartition(*one): at for one, at in offsets.items()})


def _extents(client: Any, topics: Collection[str]) -> dict[Partition, range]:
    from kafka import OffsetSpec, TopicPartition

    wanted = sorted(
        TopicPartition(one["name"], part["partition_index"])
        for one in client.describe_topics()
        if one["name"] in topics
        for part in one["partitions"]
    )
    if not wanted:
        return {}
    ends, starts = (
        client.list_partition_offsets(dict.fromkeys(wanted, which))
        for which in (OffsetSpec.LATEST, OffsetSpec.EARLIEST)
    )
    return {
        Partition(*one): range(starts[one].offset, max(starts[one].offset, ends[one].offset))
        for one in wanted
    }

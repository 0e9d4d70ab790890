"""Sending events."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Self

from pacsless.bus.connect import (
    MAX_DEAD_LETTER_BYTES,
    MAX_MESSAGE_BYTES,
    broker_errors,
    client_options,
    where,
)
from pacsless.bus.consumer import Message
from pacsless.codec import Record, to_record
from pacsless.errors import Unavailable, Unprocessable
from pacsless.events import Event
from pacsless.settings import Settings

if TYPE_CHECKING:
    from kafka import KafkaProducer
    from kafka.future import Future
    from kafka.partitioner import Partitioner

DELIVERY_SECONDS: Final = 30.0

_Parts = tuple[str, bytes | None, bytes | None, Iterable[tuple[str, bytes]]]
"""Topic, key, value and headers of a record."""

_FRAMING: Final = 64 << 10
"""More than a record's frame and what compression adds to what it cannot compress."""


class Producer:
    """Sends records; idempotent, acknowledged by all in-sync replicas.

    Thread-safe. The connection is made on first use, once per process.

    Parameters
    ----------
    settings
        Where the brokers are.
    client_id
        Name of this part in the broker's logs.
    delivery_seconds
        How long a record may wait for its acknowledgement before it counts as
        not sent; longer than a request may take (15 s).
    """

    def __init__(
        self, settings: Settings, client_id: str, delivery_seconds: float = DELIVERY_SECONDS
    ) -> None:
        self._settings = settings
        self._where = where(settings)
        self._client_id = client_id
        self._delivery_seconds = delivery_seconds
        self._lock = threading.Lock()
        self._client: KafkaProducer | None = None
        self._pid = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Producer of this process, named after its function."""
        return cls(settings, f"pacsless-{os.environ.get('FUNCTION_TARGET', 'producer')}")

    def publish(self, events: Iterable[Event], source: str) -> None:
        """Send events and return once the broker has acknowledged all of them.

        Parameters
        ----------
        events
            The facts.
        source
            CloudEvents ``source``: ``/functions/extract_tags``.

        Raises
        ------
        Unavailable
            ``broker``: some may have been sent. Sending them again is harmless,
            as their ids repeat.
        Unprocessable
            ``event-too-large``.
        """
        self.send_records([_sendable(to_record(event, source)) for event in events])

    def send_records(self, records: Iterable[Record]) -> None:
        """Send records and return once the broker has acknowledged all of them.

        Raises
        ------
        Unavailable
            ``broker``: some may have been sent.
        """
        self._deliver((one.topic, one.key, one.value, one.headers) for one in records)

    def send_record(self, record: Record, on_done: Callable[[BaseException | None], None]) -> None:
        """Send a record without waiting.

        Parameters
        ----------
        record
            As `pacsless.codec.to_record` made it.
        on_done
            Called exactly once, from the client's own thread or from this one:
            with None when the broker has acknowledged the record, else with the
            reason. It must not block.

        Raises
        ------
        Unavailable
            ``broker``, if there is no connection; `on_done` is not called then.
        Unprocessable
            ``event-too-large``, likewise.
        """
        _sendable(record)
        with broker_errors(f"cannot send to {self._where}"):
            future = self._connected().send(
                record.topic, value=record.value, key=record.key, headers=list(record.headers)
            )
        future.add_both(lambda _: on_done(future.exception if future.failed() else None))

    def copy(self, message: Message, topic: str, headers: Iterable[tuple[str, bytes]]) -> None:
        """Send a consumed message to another topic and wait for the acknowledgement.

        Parameters
        ----------
        message
            Its key, value and headers are kept as they are.
        topic
            Where to.
        headers
            What to add.

        Raises
        ------
        Unavailable
            ``broker``.
        """
        self.copy_all([(replace(message, headers=(*message.headers, *headers)), topic)])

    def copy_all(self, copies: Iterable[tuple[Message, str]]) -> None:
        """Send messages to other topics, in order, and wait for all acknowledgements.

        Raises
        ------
        Unavailable
            ``broker``: some may have been sent.
        """
        self._deliver(
            # Kafka refuses a record with neither key nor value; an empty value is
            # as close to the original as it takes.
            (topic, one.key, b"" if one.key is one.value is None else one.value, one.headers)
            for one, topic in copies
        )

    def check(self) -> None:
        """Raise `Unavailable` if the broker cannot be reached."""
        with broker_errors(f"cannot connect to {self._where}"):
            self._connected()

    def reset(self) -> None:
        """Drop the connection and what is on its way; the next use connects anew.

        To be called when records were not acknowledged in time: the idempotent
        producer of kafka-python 3.0.12 may neither send again nor give back what
        it holds once records have outlived their delivery timeout. Sending those
        again is harmless, as events repeat their ids.
        """
        self._drop(self._client)

    def _drop(self, client: KafkaProducer | None) -> None:
        with self._lock:
            if client is None or client is not self._client:
                return  # somebody else has dropped it
            self._client = None
        if self._pid == os.getpid():
            _abandon(client)

    def flush(self, timeout: float = DELIVERY_SECONDS) -> None:
        """Wait until everything sent is acknowledged or has failed.

        Raises
        ------
        Unavailable
            ``broker``, if that takes longer than `timeout` seconds.
        """
        client = self._client
        if client is not None and self._pid == os.getpid():
            with broker_errors("cannot flush"):
                client.flush(timeout=timeout)

    def close(self) -> None:
        """Send what is left and disconnect; the next use connects again."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            with broker_errors("cannot close"):
                client.close(timeout=5)

    def _deliver(self, records: Iterable[_Parts]) -> None:
        client: KafkaProducer | None = None
        try:
            with broker_errors(f"cannot send to {self._where}"):
                futures: list[Future] = []
                for topic, key, value, headers in records:
                    client = client or self._connected()
                    futures.append(client.send(topic, value=value, key=key, headers=list(headers)))
                for future in futures:
                    future.get(timeout=self._delivery_seconds)
        except Unavailable:
            self._drop(client)
            raise

    def _connected(self) -> KafkaProducer:
        with self._lock:
            if self._client is None or self._pid != os.getpid() or _gave_up(self._client):
                from kafka import KafkaProducer

                self._client = KafkaProducer(
                    **client_options(self._settings, self._client_id),
                    acks="all",
                    enable_idempotence=True,
                    compression_type="lz4",
                    # A batch's events leave together; a lone one waits this long.
                    linger_ms=2,
                    batch_size=128 << 10,
                    max_request_size=MAX_DEAD_LETTER_BYTES,
                    max_block_ms=5_000,
                    delivery_timeout_ms=int(self._delivery_seconds * 1000),
                    allow_auto_create_topics=False,
                    partitioner=_partitioner(),
                )
                self._pid = os.getpid()
            return self._client


def _partitioner() -> Partitioner:
    """Kafka's own choice of partitions, which remembers the hashes of keys.

    Events of a study have one key, and the client hashes in Python.
    """
    from kafka.partitioner import DefaultPartitioner
    from kafka.partitioner.default import murmur2

    hashed = lru_cache(4096)(murmur2)

    class RememberingPartitioner(DefaultPartitioner):  # type: ignore[misc]  # it is untyped
        def partition(  # noqa: PLR0917  # the client calls it so
            self, topic: str, key: Any, serialized_key: Any, value: Any, data: Any, cluster: Any
        ) -> Any:
            partitions = cluster.partitions_for_topic(topic)
            if serialized_key is None or not partitions:
                return super().partition(topic, key, serialized_key, value, data, cluster)
            return sorted(partitions)[(hashed(serialized_key) & 0x7FFFFFFF) % len(partitions)]

    return RememberingPartitioner()


def _sendable(record: Record) -> Record:
    """Refuse here what every broker would: nobody else's record fails with it."""
    size = len(record.key) + len(record.value)
    size += sum(len(name) + len(value) for name, value in record.headers)
    if size > MAX_MESSAGE_BYTES - _FRAMING:
        raise Unprocessable(
            "event-too-large", f"an event of {record.topic} is larger than Kafka takes"
        )
    return record


def _gave_up(client: KafkaProducer) -> bool:
    """Whether a client is beyond use; if so, close it.

    An idempotent producer of kafka-python 3.0.12 that was refused one record for
    good (too large for its topic, not authorised) fails every later one for the
    same reason.
    """
    manager = client._transaction_manager
    if manager is None or not manager.has_fatal_error():
        return False
    _abandon(client)
    return True


def _abandon(client: KafkaProducer) -> None:
    from kafka.errors import KafkaError

    with contextlib.suppress(KafkaError):
        client.close(timeout=0)
    # kafka-python 3.0.12 only says so if it cannot flush first, and closes nothing:
    # a thread and its connections would be left with every broker that was lost.
    client._sender.force_close()
    client._closed = True

"""Reading what lies in topics, as a member of no group."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Final

from pacsless.bus.connect import broker_errors, client_options
from pacsless.bus.consumer import Message, Partition
from pacsless.errors import Unavailable
from pacsless.settings import Settings

_SILENCE_SECONDS: Final = 30.0


def read(settings: Settings, offsets: Mapping[Partition, range]) -> Iterator[Message]:
    """Read the records that there are of these offsets, one partition after the other.

    Parameters
    ----------
    settings
        Where the brokers are.
    offsets
        What to read, as `pacsless.bus.extents` found it. Records deleted since
        are passed over.

    Raises
    ------
    Unavailable
        ``broker``; also if it is silent for half a minute.
    """
    wanted = {partition: span for partition, span in offsets.items() if span}
    if not wanted:
        return
    from kafka import KafkaConsumer, TopicPartition

    with broker_errors("cannot read"):
        client = KafkaConsumer(
            **client_options(settings, "pacsless-reader"),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            max_partition_fetch_bytes=4 << 20,
        )
    try:
        for partition, span in wanted.items():
            one = TopicPartition(*partition)
            with broker_errors("cannot read"):
                client.assign([one])
                client.seek(one, span.start)
            at, heard = span.start, time.monotonic()
            while at < span.stop:
                with broker_errors("cannot read"):
                    found = client.poll(timeout_ms=500).get(one, ())
                    before, at = at, client.position(one)
                if at != before:
                    heard = time.monotonic()
                elif time.monotonic() - heard > _SILENCE_SECONDS:
                    raise Unavailable("broker", f"cannot read {partition.topic}: no answer")
                yield from (Message.of_record(record) for record in found if record.offset in span)
    finally:
        # All is read, or something else went wrong that is to be told.
        with contextlib.suppress(Unavailable), broker_errors("cannot close"):
            client.close()

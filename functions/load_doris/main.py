"""Logs, states, images, conversions and accesses from their queues → Doris."""

from __future__ import annotations

from collections.abc import Sequence

from functions.load_doris.rows import loads
from pacsless.codec import Delivered
from pacsless.events import (
    AccessesLogged,
    AccessLogged,
    Event,
    InstanceConversionFailed,
    InstanceConverted,
    InstanceIndexed,
    InstanceReceived,
    InstanceUnindexed,
    SeriesRevised,
)
from pacsless.handler import handles
from pacsless.stream_load import StreamLoad


@handles(InstanceReceived, SeriesRevised, InstanceIndexed, InstanceUnindexed, InstanceConverted,
         InstanceConversionFailed, AccessLogged, AccessesLogged)  # fmt: skip
def load_doris(batch: Sequence[Delivered[Event]], stream_load: StreamLoad) -> None:
    """Load the rows of a batch, a table at a time; repeating it changes nothing."""
    for load in loads(batch):
        stream_load.load(load.table, load.rows, load.label)

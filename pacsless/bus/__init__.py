"""Kafka as this project uses it: the only package that imports ``kafka``.

Clients connect on first use and once per process, because kafka-python does not
survive a fork and servers of functions fork. Everything that means "the broker cannot do
it now" is raised as `Unavailable` with the code ``broker``.
"""

from pacsless.bus.connect import Fenced
from pacsless.bus.consumer import Consumer, Message, Partition, Position
from pacsless.bus.dead_letters import (
    Reference,
    Waiting,
    dead_letter_counts,
    settlements,
    trim,
    waiting,
)
from pacsless.bus.lease import Lease
from pacsless.bus.producer import Producer
from pacsless.bus.reading import read
from pacsless.bus.topics import check, create_topics, extents, function_lag, group_id, lag_reader

__all__ = [
    "Consumer",
    "Fenced",
    "Lease",
    "Message",
    "Partition",
    "Position",
    "Producer",
    "Reference",
    "Waiting",
    "check",
    "create_topics",
    "dead_letter_counts",
    "extents",
    "function_lag",
    "group_id",
    "lag_reader",
    "read",
    "settlements",
    "trim",
    "waiting",
]

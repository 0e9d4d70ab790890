"""Kafka as this project uses it: the only package that imports ``kafka``.

Clients connect on first use and once per process, because kafka-python does not
survive a fork and gunicorn forks. Everything that means "the broker cannot do
it now" is raised as `Unavailable` with the code ``broker``.
"""

from pacsless.bus.consumer import Consumer, Message, Partition, Position
from pacsless.bus.producer import Producer
from pacsless.bus.topics import create_topics, dead_letter_counts, function_lag, group_id

__all__ = [
    "Consumer",
    "Message",
    "Partition",
    "Position",
    "Producer",
    "create_topics",
    "dead_letter_counts",
    "function_lag",
    "group_id",
]

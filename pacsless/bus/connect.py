"""What all Kafka clients have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pacsless.errors import Unavailable, Unprocessable
from pacsless.settings import Settings

MAX_MESSAGE_BYTES: Final = 8 << 20
"""Largest record: an event refers to pixel data and never holds it, but the
DICOM JSON of an enhanced multi-frame instance has megabytes of functional groups."""

MAX_DEAD_LETTER_BYTES: Final = MAX_MESSAGE_BYTES + (1 << 20)
"""A dead letter is a record with headers added."""


def client_options(settings: Settings, client_id: str) -> dict[str, Any]:
    """Options every client is made with."""
    return {
        "bootstrap_servers": list(settings.kafka),
        "client_id": client_id,
        # A broker that does not answer must become an error while the caller
        # still waits, not after the library's half minute.
        "bootstrap_timeout_ms": 5_000,
        "request_timeout_ms": 15_000,
        "reconnect_backoff_max_ms": 2_000,
        "metadata_max_age_ms": 60_000,
    }


@contextmanager
def broker_errors(doing: str) -> Iterator[None]:
    """Raise what Kafka's client raises as ours.

    Raises
    ------
    Unprocessable
        ``event-too-large``, if no retry can get the record through.
    Unavailable
        ``broker``, for everything else.
    """
    from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

    try:
        yield
    except (MessageSizeTooLargeError, RecordListTooLargeError):
        raise Unprocessable(
            "event-too-large", f"{doing}: the record is larger than {MAX_MESSAGE_BYTES} bytes"
        ) from None
    except (KafkaError, OSError) as error:
        # Kafka's messages may quote a record; its class says enough.
        raise Unavailable("broker", f"{doing}: {type(error).__name__}") from error

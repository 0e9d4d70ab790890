"""What all Kafka clients have in common."""

from __future__ import annotations

from typing import Any, Final

from pacsless.errors import PacslessError, Unavailable
from pacsless.reach import host_and_port, reach, shown
from pacsless.settings import InvalidSetting, Settings

MAX_MESSAGE_BYTES: Final = 8 << 20
"""Largest record: an event refers to pixel data and never holds it, but the
DICOM JSON of an enhanced multi-frame instance has megabytes of functional groups."""

MAX_DEAD_LETTER_BYTES: Final = MAX_MESSAGE_BYTES + (1 << 20)
"""A dead letter is a record with headers added."""


def client_options(settings: Settings, client_id: str) -> dict[str, Any]:
    """Options every client is made with."""
    return {
        "bootstrap_servers": list(settings.kafka),
        "security_protocol": "SSL" if settings.kafka_tls else "PLAINTEXT",
        "client_id": client_id,
        # A broker that does not answer must become an error while the caller
        # still waits, not after the library's half minute.
        "bootstrap_timeout_ms": 5_000,
        "request_timeout_ms": 15_000,
        "reconnect_backoff_max_ms": 2_000,
        "metadata_max_age_ms": 60_000,
    }


def where(settings: Settings) -> str:
    """Say where the brokers are, for a message."""
    return f"Kafka at {', '.join(map(shown, settings.kafka))} (PACSLESS_KAFKA)"


def reach_one(settings: Settings) -> None:
    """See whether any of the brokers takes a connection.

    Kafka's client tells of none of them why not, and takes longer for it.

    Raises
    ------
    Unavailable
        ``broker``, with the reason for each.
    InvalidSetting
        If PACSLESS_KAFKA has no address.
    """
    if not settings.kafka:
        raise InvalidSetting("setting", "PACSLESS_KAFKA names no broker: set it to host:port")
    places = [host_and_port(one, "PACSLESS_KAFKA", 9092) for one in settings.kafka]
    reasons = []
    for place in places:
        try:
            return reach(*place)
        except Unavailable as error:
            reasons.append(error.message)
    raise Unavailable("broker", f"cannot reach Kafka: {'; '.join(reasons)} (PACSLESS_KAFKA)")


class Fenced(PacslessError):
    """Another process has joined the group as the same instance; this one must end."""


class broker_errors:  # noqa: N801  # reads as what it is: with broker_errors("cannot send"):
    """Raise what Kafka's client raises as ours.

    Parameters
    ----------
    doing
        What cannot be done then: ``"cannot send"``.

    Raises
    ------
    Unavailable
        ``broker``.
    Fenced
        ``fenced``.
    """

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if error is None:
            return
        from kafka.errors import (
            FencedInstanceIdError,
            KafkaError,
            MessageSizeTooLargeError,
            RecordListTooLargeError,
        )

        if isinstance(error, FencedInstanceIdError):
            raise Fenced(
                "fenced",
                f"{self._doing}: another process has joined the group as the same instance and "
                "taken this one's place: give each an instance of its own",
            ) from None
        if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
            # Said of whatever was on its way beside the record, too.
            raise Unavailable(
                "broker",
                f"{self._doing}: a topic takes smaller records than ours may be: "
                f"set its max.message.bytes to {MAX_MESSAGE_BYTES}",
            ) from None
        if isinstance(error, KafkaError | OSError):
            # Kafka's messages may quote a record; its class says enough.
            raise Unavailable("broker", f"{self._doing}: {type(error).__name__}") from error

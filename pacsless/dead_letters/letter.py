"""What a dead letter says: no I/O.

Its data may hold patient data, and so may whatever else a record has that we
did not make. What is shown of a letter is therefore what has the form of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from pacsless import strict_json
from pacsless.bus import Message, Reference
from pacsless.errors import PacslessError
from pacsless.events import DEAD_LETTER_SUFFIX, EVENTS

HEADER_PREFIX: Final = "dlq_"
"""What the names of the headers that the trigger adds start with."""
_KNATIVE_PREFIX: Final = "ce_knativeerror"
"""Likewise, of those that a KafkaSource adds."""

_UIDS: Final = r"studies/[0-9.]{1,64}(/series/[0-9.]{1,64}(/instances/[0-9.]{1,64})?)?"
_ID: Final = r"[0-9a-f-]{1,36}"
_FORMS: Final = {
    "dlq_code": r"[a-z0-9][a-z0-9-]{0,63}",
    "dlq_function": r"[a-z][a-z_]{0,63}",
    "dlq_attempts": r"\d{1,6}",
    "dlq_topic": r"[a-z_]{1,64}",
    "dlq_partition": r"\d{1,6}",
    "dlq_offset": r"\d{1,18}",
    "dlq_time": r"[0-9T:.Z-]{1,32}",
    "ce_id": _ID,
    "ce_knativeerrorcode": r"[1-5]\d\d",
    "ce_source": r"/[a-z_-]{1,32}(/[a-z_-]{1,64})?",
    "ce_specversion": r"\d\.\d",
    "ce_subject": rf"{_UIDS}|attempts/{_ID}|requests(/{_ID})?",
    "ce_time": r"[0-9T:.Z-]{1,32}",
    "ce_type": r"org\.pacsless(\.[a-z-]{1,32}){2}\.v\d{1,3}",
    "content-type": r"application/(cloudevents\+)?json",
}
_KEY: Final = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})/[0-9.]{0,64}", re.ASCII)


def buried(
    message: Message, code: str, attempts: int, function: str, time: str
) -> tuple[tuple[str, bytes], ...]:
    """Make the headers that turn a message into a dead letter.

    Parameters
    ----------
    message
        The event's record.
    code
        Why.
    attempts
        How often it was tried.
    function
        By whom.
    time
        When it was given up; ISO 8601.
    """
    told = {
        "code": code,
        "attempts": attempts,
        "function": function,
        "topic": message.partition.topic,
        "partition": message.partition.number,
        "offset": message.offset,
        "time": time,
    }
    return tuple((HEADER_PREFIX + name, str(value).encode()) for name, value in told.items())


@dataclass(frozen=True)
class Letter:
    """A dead letter."""

    message: Message

    @property
    def reference(self) -> Reference:
        """Where it lies."""
        return Reference(self.message.partition, self.message.offset)

    @property
    def topic(self) -> str:
        """Topic of its event."""
        return self.message.partition.topic.removesuffix(DEAD_LETTER_SUFFIX)

    @property
    def time(self) -> datetime:
        """When it was written."""
        return datetime.fromtimestamp(self.message.timestamp, UTC)

    @property
    def code(self) -> str:
        """Why it is one; empty if whoever wrote it did not say."""
        if status := self.shown.get("ce_knativeerrorcode"):
            return self.shown.get("dlq_code", f"http-{status}")
        return self.shown.get("dlq_code", "")

    @property
    def function(self) -> str:
        """Whose it is."""
        return self.shown.get("dlq_function", "")

    @property
    def tenant(self) -> str:
        """Whose event it is, by its key; empty if that is none of ours."""
        found = _KEY.fullmatch((self._key or b"").decode("ascii", "replace"))
        return found[1] if found else ""

    @cached_property
    def shown(self) -> dict[str, str]:
        """Return its headers that have the form of ours."""
        found = {name: value.decode("ascii", "replace") for name, value in self.message.headers}
        return {
            name: found[name]
            for name, form in _FORMS.items()
            if name in found and re.fullmatch(form, found[name], re.ASCII)
        }

    @property
    def event(self) -> Message:
        """The record as it was."""
        added = (HEADER_PREFIX, _KNATIVE_PREFIX)
        kept = (one for one in self.message.headers if not one[0].startswith(added))
        return replace(self.message, key=self._key, headers=tuple(kept))

    @cached_property
    def _key(self) -> bytes | None:
        """Key of the record; where a KafkaSource has lost it, of its event."""
        knatives = any(name.startswith(_KNATIVE_PREFIX) for name, _ in self.message.headers)
        if self.message.key is not None or not knatives:
            return self.message.key
        kind = EVENTS.get(self.shown.get("ce_type", ""))
        if kind is None or self.message.value is None:
            return None
        try:
            return kind.from_data(strict_json.loads(self.message.value)).partition_key.encode()
        except (PacslessError, ValueError, RecursionError):
            return None

    def as_dict(self) -> dict[str, Any]:
        """Return it as a line or JSON has it: never its data."""
        return {
            "letter": str(self.reference),
            "topic": self.topic,
            "code": self.code,
            "function": self.function,
            "attempts": int(self.shown.get("dlq_attempts", 0)),
            "time": iso(self.time),
            "tenant": self.tenant,
            "type": self.shown.get("ce_type", ""),
            "subject": self.shown.get("ce_subject", ""),
        }


def iso(time: datetime) -> str:
    """Write a time to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")

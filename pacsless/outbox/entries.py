"""What the outbox's journal says: a line for each entry, and one for each step of its fate."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pacsless.archive import Sealed
from pacsless.codec import Record
from pacsless.errors import PacslessError
from pacsless.outbox.journal import done_path, segment_path
from pacsless.outbox.lines import read_lines

# The first letter of a line. An intent promises events about a file that gets
# its key next; a note is events alone. The others name the ids of such entries:
# the writer says what became of the file, the reader what the broker has.
INTENT: Final = b"I"
NOTE: Final = b"N"
KEPT: Final = b"K"
CANCELLED: Final = b"C"
DONE: Final = b"D"
ENTRIES: Final = (INTENT, NOTE)
# ASCII's own separators. Identifiers and headers have no control characters, and
# `pacsless.codec` writes compact JSON, which escapes them. Without LF and NUL a
# body fits into a line.
_FIELD: Final = b"\x1f"
_RECORD: Final = b"\x1e"


class OldJournal(PacslessError):
    """An entry is not in the form that this version reads."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A promise to publish events about a file once it has its key."""

    id: int
    sealed: Sealed
    key: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Events to publish together; done when the broker has acknowledged all."""

    id: tuple[int, int]
    """Which outbox, and which of its entries."""
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits, and for how long."""

    entries: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class EntryLine:
    """An entry as it stands in the journal; its payload is parsed when it is needed."""

    id: int
    segment: int
    written_at: float
    _payload: bytes

    @classmethod
    def read(cls, segment: int, body: bytes) -> Self:
        """Take a body apart."""
        _, number, written_at, payload = body.split(b" ", 3)
        return cls(int(number), segment, float(written_at), payload)

    def intent(self) -> Intent:
        """Return the promise, of an intent's line.

        Raises
        ------
        OldJournal
            If the payload is not of today's form; likewise `records`.
        """
        name, size, sha256, key = self._parts()[0].decode().split(_FIELD.decode())
        return Intent(self.id, Sealed(name, int(size), sha256), key)

    def records(self) -> tuple[Record, ...]:
        """Return what is to be published."""
        return tuple(map(_record, self._parts()[1:]))

    def _parts(self) -> list[bytes]:
        parts = self._payload.split(_RECORD)
        if parts[0].startswith(b"{"):
            # Better a relay that stands still than events that are lost.
            raise OldJournal(
                "old-journal",
                "the outbox holds an entry in the form of an earlier version: start that one, let "
                "Kafka take what waits, then update",
            )
        return parts


class Fates:
    """What becomes of an outbox's entries, as told by its lines one after the other."""

    def __init__(self) -> None:
        self.undecided: dict[int, EntryLine] = {}
        """Intents whose file may get its key or not; at most one a sender."""

    def read(self, segment: int, body: bytes) -> list[EntryLine]:
        """Take the next line; return what may be published since."""
        kind = body[:1]
        if kind in ENTRIES:
            line = EntryLine.read(segment, body)
            if kind == NOTE:
                return [line]
            self.undecided[line.id] = line
            return []
        decided = [self.undecided.pop(one) for one in ids_of(body) if one in self.undecided]
        return decided if kind == KEPT else []


def intent_body(number: int, sealed: Sealed, key: str, records: Sequence[Record]) -> bytes:
    """Line of a promise.

    Raises
    ------
    ValueError
        If a record has a byte that a line cannot take: LF, NUL, 0x1E or 0x1F.
    """
    promise = _joined(
        (sealed.name.encode(), b"%d" % sealed.size, sealed.sha256.encode(), key.encode())
    )
    return _entry_body(INTENT, number, promise, records)


def note_body(number: int, records: Sequence[Record]) -> bytes:
    """Line of events alone.

    Raises
    ------
    ValueError
        If a record has a byte that a line cannot take: LF, NUL, 0x1E or 0x1F.
    """
    return _entry_body(NOTE, number, b"", records)


def mark_body(kind: bytes, *numbers: int) -> bytes:
    """Line of a step in the fate of entries."""
    return b" ".join((kind, *(b"%d" % number for number in numbers)))


def ids_of(body: bytes) -> list[int]:
    """Return the entries a line is about."""
    if body[:1] in ENTRIES:
        return [int(body.split(b" ", 2)[1])]
    return [int(one) for one in body.split(b" ")[1:]]


def read_bodies(
    folder: Path, numbers: Sequence[int], *, is_growing: bool = True
) -> Iterator[tuple[int, bytes]]:
    """Read the lines of segments, each with the number of its segment; somebody may write on."""
    for number in numbers:
        try:
            with open(segment_path(folder, number), "rb", buffering=0) as file:
                growing = is_growing and number == numbers[-1]
                yield from ((number, body) for _, body in read_lines(file, is_growing=growing))
        except FileNotFoundError:
            continue  # the relay was done with it


def done_ids(folder: Path, number: int) -> set[int]:
    """Return which entries of a segment the broker has acknowledged."""
    try:
        with open(done_path(folder, number), "rb") as file:
            return {one for _, body in read_lines(file) for one in ids_of(body)}
    except FileNotFoundError:
        return set()


def _entry_body(kind: bytes, number: int, promise: bytes, records: Sequence[Record]) -> bytes:
    payload = _RECORD.join((promise, *map(_plain, records)))
    if payload.count(_RECORD) != len(records) or b"\n" in payload or b"\0" in payload:
        raise ValueError("a record has control characters")
    return b"%b %d %.3f %b" % (kind, number, time.time(), payload)


def _joined(fields: Sequence[bytes]) -> bytes:
    joined = _FIELD.join(fields)
    if joined.count(_FIELD) != len(fields) - 1:
        raise ValueError("a record has control characters")
    return joined


def _plain(record: Record) -> bytes:
    fields = [record.topic.encode(), record.key, record.value]
    for name, value in record.headers:
        fields += (name.encode(), value)
    return _joined(fields)


def _record(plain: bytes) -> Record:
    topic, key, value, *headers = plain.split(_FIELD)
    names = [name.decode() for name in headers[::2]]
    return Record(topic.decode(), key, value, tuple(zip(names, headers[1::2], strict=True)))

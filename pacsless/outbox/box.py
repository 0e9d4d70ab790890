"""The writing side of an outbox: promises, what became of them, and notes."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TextIO

from pacsless.archive import Sealed
from pacsless.codec import Record
from pacsless.durable import make_folder
from pacsless.errors import PacslessError
from pacsless.outbox import entries
from pacsless.outbox.entries import Fates, Intent
from pacsless.outbox.journal import Journal, JournalUnavailable, NotDurable, segments

_SEGMENT_BYTES: Final = 16 << 20
# Room for the entries of one segment's writer; a line has a hundred bytes.
_IDS_OF_A_SEGMENT: Final = 1 << 32
_PAUSE_SECONDS: Final = (0.25, 4.0)
"""Between attempts to write what a full disk did not take."""
_log = logging.getLogger(__name__)


class OutboxOwned(PacslessError):
    """Another process writes this outbox."""


class Owner:
    """The one process that has a folder, until `close` or its end.

    Raises
    ------
    OutboxOwned
        If another has it.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._file = _locked(folder)

    def close(self) -> None:
        """Give the folder back."""
        self._file.close()


class Outbox:
    """Intents and notes on their way to Kafka; thread-safe.

    Parameters
    ----------
    folder
        On a durable disk; made if it is not there.
    wake
        Called when there is something new for the reader.
    segment_bytes
        Size of the journal's files.

    Raises
    ------
    OutboxOwned
        If another process writes there.
    """

    def __init__(
        self,
        folder: Path,
        wake: Callable[[], None] = lambda: None,
        *,
        segment_bytes: int = _SEGMENT_BYTES,
    ) -> None:
        self._owner = Owner(folder)
        self._folder = folder
        self._wake = wake
        self._journal = Journal(folder, segment_bytes)
        # The segment's number grows with every writer, so no id is used twice.
        self._ids = itertools.count(self._journal.next_segment * _IDS_OF_A_SEGMENT)
        self._marking = threading.Lock()
        self._unwritten: list[bytes] = []
        """Marks the disk did not take; at most a few for each sender."""
        self._pause = _PAUSE_SECONDS[0]
        self._next_attempt = 0.0

    def unfinished(self) -> list[Intent]:
        """Intents an earlier process neither kept nor cancelled: say `decide` of all.

        Raises
        ------
        OldJournal
            If one is of an earlier version.
        """
        fates = Fates()
        numbers = segments(self._folder)
        for number, body in entries.read_bodies(self._folder, numbers, is_growing=False):
            fates.read(number, body)
        for number in numbers:
            for one in entries.done_ids(self._folder, number):
                fates.undecided.pop(one, None)
        return [line.intent() for line in fates.undecided.values()]

    def decide(self, kept: Iterable[Intent], cancelled: Iterable[Intent]) -> None:
        """Say what became of intents of an earlier process; durable on return.

        Raises
        ------
        JournalUnavailable
            If it may not be. They are unfinished still, for the next attempt.
        """
        fates = ((entries.KEPT, kept), (entries.CANCELLED, cancelled))
        ids = [(kind, [intent.id for intent in intents]) for kind, intents in fates]
        if marks := [entries.mark_body(kind, *some) for kind, some in ids if some]:
            self._journal.append_durably(*marks)
            self._wake()

    def intend(self, sealed: Sealed, key: str, records: Sequence[Record]) -> Intent:
        """Promise to publish `records` once `sealed` has its `key`; durable on return.

        Raises
        ------
        JournalUnavailable
            If the promise is not durable. It is void then.
        ValueError
            If a record cannot be journalled. There is no promise then.
        """
        intent = Intent(next(self._ids), sealed, key)
        try:
            self._journal.append_durably(entries.intent_body(intent.id, sealed, key, records))
        except NotDurable:
            self._mark(entries.CANCELLED, intent)
            raise
        return intent

    def kept(self, intent: Intent, note: Sequence[Record] = ()) -> None:
        """Say that the file has its key: its events may be published, and `note` beside them."""
        # Not durable, and need not be: after a crash the file tells.
        self._mark(entries.KEPT, intent, note)

    def cancel(self, intent: Intent, note: Sequence[Record] = ()) -> None:
        """Take the promise back: the file got no key. Publish `note`."""
        self._mark(entries.CANCELLED, intent, note)

    def note(self, records: Sequence[Record]) -> None:
        """Publish `records`, if any, when possible; a power cut soon after may lose them.

        Raises
        ------
        JournalUnavailable
            If they could not be written.
        ValueError
            If one cannot be journalled.
        """
        if records:
            self._journal.append(entries.note_body(next(self._ids), records))
            self._wake()

    def settle(self) -> None:
        """Write again the marks that a full disk did not take; call it now and then."""
        if self._unwritten and time.monotonic() >= self._next_attempt:
            self._write_marks()

    def close(self) -> None:
        """Stop writing; what is not done is published by whoever reads.

        Where a mark could not be written, the intent is unfinished for the next
        process, who finds out the same.
        """
        if self._unwritten:
            self._write_marks()
        self._journal.close()
        self._owner.close()

    def _mark(self, kind: bytes, intent: Intent, note: Sequence[Record] = ()) -> None:
        marks = [entries.mark_body(kind, intent.id)]
        if note:
            try:
                marks.append(entries.note_body(next(self._ids), note))
            except ValueError:
                # The fate of what was promised is worth more than what is told beside it.
                _log.exception("a note cannot be journalled")
        self._write_marks(*marks)

    def _write_marks(self, *marks: bytes) -> None:
        with self._marking:
            is_news = not self._unwritten
            self._unwritten += marks
            try:
                self._journal.append(*self._unwritten)
            except JournalUnavailable:
                self._next_attempt = time.monotonic() + self._pause
                self._pause = min(2 * self._pause, _PAUSE_SECONDS[1])
                if is_news:
                    _log.warning("the journal does not take a mark; an event waits for that")
            else:
                self._unwritten.clear()
                self._pause = _PAUSE_SECONDS[0]
        self._wake()


def _locked(folder: Path) -> TextIO:
    file = open(folder / "owner", "a+", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        owner = file.read().strip() or "another process"
        file.close()
        raise OutboxOwned(
            "outbox-owned",
            f"{folder} belongs to {owner}; stop it, or set another PACSLESS_SPOOL for this one",
        ) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file

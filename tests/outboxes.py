"""Outboxes that tests fill, read and look into."""

from __future__ import annotations

import json
from pathlib import Path

from pacsless.archive import Sealed
from pacsless.codec import Record
from pacsless.events import EVENTS, Event
from pacsless.outbox import Backlog, Intent, Outbox, outbox_folders
from pacsless.outbox.entries import CANCELLED, ENTRIES, EntryLine, ids_of, read_bodies
from pacsless.outbox.journal import segments

SEALED = Sealed("f" * 32, 1000, "ab" * 32)


def record(number: int) -> Record:
    return Record(
        "storage_queue",
        b"default/1.2",
        f'{{"n":{number}}}\xff'.encode("latin-1"),
        (("ce_id", b"\x80\xfe"),),
    )


def promise(outbox: Outbox, number: int) -> Intent:
    return outbox.intend(SEALED, f"default/1/2/{number}.dcm", [record(number)])


def keep(outbox: Outbox, number: int) -> Intent:
    intent = promise(outbox, number)
    outbox.kept(intent)
    return intent


def publish(backlog: Backlog, limit: int = 100_000) -> list[Record]:
    """Take and acknowledge everything there is."""
    found = []
    while entries := backlog.take(limit, 0):
        found += [one for entry in entries for one in entry.records]
        backlog.done(entry.id for entry in entries)
    return found


def settled(outbox: Outbox, backlog: Backlog) -> list[Record]:
    """Publish once marks that were refused are written."""
    outbox.settle()
    return publish(backlog)


def folder_of(spool: Path) -> Path:
    return spool / "outbox" / "receiver-0"


def journal_files(spool: Path) -> list[Path]:
    return sorted(folder_of(spool).glob("*.journal"))


def promised(spool: Path, kind: type[Event]) -> list[Event]:
    """Events of a kind in the journals that were not taken back, in the order of time."""
    found: list[tuple[float, Event]] = []
    for folder in outbox_folders(spool):
        bodies = list(read_bodies(folder, segments(folder)))
        void = {one for _, body in bodies if body[:1] == CANCELLED for one in ids_of(body)}
        lines = [
            EntryLine.read(number, body)
            for number, body in bodies
            if body[:1] in ENTRIES and not void.intersection(ids_of(body))
        ]
        found += [
            (line.written_at, EVENTS[kind.TYPE].from_data(json.loads(record.value)))
            for line in lines
            for record in line.records()
            if dict(record.headers)["ce_type"] == kind.TYPE.encode()
        ]
    return [event for _, event in sorted(found, key=lambda one: one[0])]

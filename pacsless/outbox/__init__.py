"""The outbox: what was promised to a sender and Kafka has not acknowledged yet.

Kafka may be down when an instance arrives, so the promise to tell it is written
to a journal in ``<spool>/outbox`` first. The order of an acknowledgement is:
seal the file, `Outbox.intend`, give the file its key, `Outbox.kept`, answer
0x0000. A relay takes entries with `Outbox.take` and reports with `Outbox.done`
what the broker has acknowledged. After a crash `Outbox.unfinished` names the
files whose fate is open. Whatever happens, an entry is published at least once;
its events' ids repeat, so nobody counts it twice.

The backlog stays on the disk: in memory are only the entries in flight and a
cursor into the journal, however long the broker is away.
"""

from pacsless.outbox.box import Outbox, OutboxOwned
from pacsless.outbox.entries import Depth, Entry, Intent, outbox_depth
from pacsless.outbox.journal import JournalUnavailable

__all__ = [
    "Depth",
    "Entry",
    "Intent",
    "JournalUnavailable",
    "Outbox",
    "OutboxOwned",
    "outbox_depth",
]

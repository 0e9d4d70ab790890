"""The outbox: what was promised to a sender and Kafka has not acknowledged yet.

Kafka may be down when an instance arrives, so the promise to tell it is written
to a journal first. The order of an acknowledgement is: seal the file,
`Outbox.intend`, give the file its key, answer 0x0000, `Outbox.kept`. Each
process that receives has an `Outbox` of its own, ``<spool>/outbox/<name>``; one
relay reads them all as a `Backlog`, which hands out entries and is told what
the broker has acknowledged. After a crash `Outbox.unfinished` names the files
whose fate is open, and `Outbox.decide` takes the answers. Whatever happens, an
entry is published at least once; its events' ids repeat, so nobody counts it
twice.
"""

from pacsless.outbox.backlog import Backlog, outbox_depth, outbox_folders
from pacsless.outbox.box import Outbox, OutboxOwned, Owner
from pacsless.outbox.entries import Depth, Entry, Intent
from pacsless.outbox.journal import JournalUnavailable
from pacsless.outbox.space import DiskSpace

__all__ = [
    "Backlog",
    "Depth",
    "DiskSpace",
    "Entry",
    "Intent",
    "JournalUnavailable",
    "Outbox",
    "OutboxOwned",
    "Owner",
    "outbox_depth",
    "outbox_folders",
]

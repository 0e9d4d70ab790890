"""Taking an instance in: what C-STORE and STOW-RS have in common.

A `Reception` streams one instance into the archive and says what became of it.
Its `Answer` is a success only when the file and the promise to tell Kafka of it
are durable (DECISIONS.md, "0x0000 means durable"); `recover` looks after what a
process that was killed had promised. `pacsless.storage.deletion` is the way out.
"""

from pacsless.storage.answers import Answer, Refused, Sender, Status, refusal, uid_or_nothing
from pacsless.storage.reception import Reception
from pacsless.storage.recovery import FORGOTTEN_SECONDS, recover
from pacsless.storage.service import Limits, ObjectTooLarge, StorageService, incoming_owner

__all__ = [
    "FORGOTTEN_SECONDS",
    "Answer",
    "Limits",
    "ObjectTooLarge",
    "Reception",
    "Refused",
    "Sender",
    "Status",
    "StorageService",
    "incoming_owner",
    "recover",
    "refusal",
    "uid_or_nothing",
]

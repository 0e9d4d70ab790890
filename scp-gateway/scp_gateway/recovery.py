"""After a crash: every promise is kept or taken back before the first sender comes."""

from __future__ import annotations

import hashlib
import logging
from typing import Final

from pacsless.archive import AlreadyKept, Archive
from pacsless.errors import NotFound
from pacsless.outbox import Intent, Outbox

_BLOCK: Final = 1 << 20
FORGOTTEN_SECONDS: Final = 3600.0
"""Age at which an incoming file belongs to nobody: others write beside us."""
_log = logging.getLogger(__name__)


def recover(archive: Archive, outbox: Outbox, owner: str) -> dict[str, int]:
    """Finish what a receiver promised, and remove what it left half received.

    Parameters
    ----------
    archive, outbox
        The receiver's; it does not run.
    owner
        Its name among those that write incoming files.

    Returns
    -------
    dict
        How many intents were ``finished`` (the file got its key now), ``found``
        (it had it) and ``dropped`` (nobody was told 0x0000), and how many
        incoming files were ``swept``.

    Raises
    ------
    ArchiveUnavailable
        If the archive cannot say: start again when it can.
    """
    counts = {"finished": 0, "found": 0, "dropped": 0}
    for intent in outbox.unfinished():
        fate = _fate(archive, intent)
        counts[fate] += 1
        if fate == "dropped":
            _log.warning(
                "an unacknowledged instance is gone", extra={"fields": {"key": intent.key}}
            )
            outbox.cancel(intent)
        else:
            outbox.kept(intent)
    counts["swept"] = archive.sweep(0, owner)
    return counts


def _fate(archive: Archive, intent: Intent) -> str:
    if archive.sealed(intent.sealed.name) is not None:
        try:
            archive.keep(intent.sealed, intent.key)
        except AlreadyKept:
            archive.discard(intent.sealed)
        else:
            return "finished"
    return "found" if _digest(archive, intent.key) == intent.sealed.sha256 else "dropped"


def _digest(archive: Archive, key: str) -> str:
    digest = hashlib.sha256()
    try:
        with archive.open(key) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except NotFound:
        return ""
    return digest.hexdigest()

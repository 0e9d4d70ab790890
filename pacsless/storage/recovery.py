"""After a crash: every promise is kept or taken back before the first sender comes."""

from __future__ import annotations

import logging
from typing import Final

from pacsless.archive import AlreadyKept, Archive, size_and_sha256
from pacsless.durable import sync_folder
from pacsless.errors import NotFound
from pacsless.outbox import Intent, Outbox
from pacsless.storage.deletion import finish

FORGOTTEN_SECONDS: Final = 3600.0
"""Age at which an incoming file belongs to nobody: others write beside us."""
_log = logging.getLogger(__name__)


def recover(archive: Archive, outbox: Outbox, owner: str) -> dict[str, int]:
    """Finish what a receiver promised, deletions too, and remove what it left half received.

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
        (it had it), ``dropped`` (nobody was told 0x0000) and left ``open`` (the
        disk does not give the file back), and how many incoming files were
        ``swept``.

    Raises
    ------
    ArchiveUnavailable
        If the archive cannot say: start again when it can.
    JournalUnavailable
        If what was found out cannot be written down: start again when it can.
    """
    fates: dict[str, list[Intent]] = {"finished": [], "found": [], "dropped": [], "open": []}
    for intent in outbox.unfinished():
        fate = _fate(archive, intent)
        fates[fate].append(intent)
        if fate == "dropped":
            what = "deletion has not begun" if _is_deletion(intent) else "instance is gone"
            _log.warning(f"an unacknowledged {what}", extra={"fields": {"key": intent.key}})
    outbox.decide(kept=fates["finished"] + fates["found"], cancelled=fates["dropped"])
    counts = {fate: len(intents) for fate, intents in fates.items()}
    counts["swept"] = archive.sweep(0, owner)
    return counts


def _fate(archive: Archive, intent: Intent) -> str:
    try:
        if archive.sealed(intent.sealed.name) is not None:
            try:
                archive.keep(intent.sealed, intent.key)
            except AlreadyKept:
                archive.discard(intent.sealed)
            else:
                return "finished"
        if not _is_kept(archive, intent):
            return "dropped"
        if _is_deletion(intent):
            finish(archive, intent.key)
        return "found"
    except OSError as error:
        # One bad sector must not keep the gateway down, nor call its event off.
        _log.error(
            "a file cannot be read, and its event waits; mend the disk and start again",
            extra={"fields": {"key": intent.key, "errno": error.errno}},
        )
        return "open"


def _is_deletion(intent: Intent) -> bool:
    return intent.key.startswith("tombstones/")


def _is_kept(archive: Archive, intent: Intent) -> bool:
    """Whether the key's file is the one that was promised; its name is durable then."""
    try:
        with archive.open(intent.key) as file:
            _, sha256 = size_and_sha256(file)
    except NotFound:
        return False
    if sha256 != intent.sealed.sha256:
        return False
    # Whoever linked it may have ended before its fsync of the folder.
    if (path := archive.local_path(intent.key)) is not None:
        sync_folder(path.parent)
    return True

"""What the gateway's processes agree on."""

from __future__ import annotations

import logging
import os
import resource
import signal
import threading
import warnings
from pathlib import Path
from typing import Any, Final

import pydicom.config

from pacsless import log
from pacsless.settings import Settings
from scp_gateway.application_entities import ApplicationEntities

STOP: Final = {signal.SIGTERM, signal.SIGINT}
RELOAD: Final = signal.SIGHUP
_SERVICE: Final = "scp-gateway"
_log = logging.getLogger(__name__)


def begin() -> Settings:
    """Set up logging and signals for this process, and read the project's settings.

    Signals are blocked: the gateway waits for them, and a receiver is told over
    its channel, so that Ctrl-C in a terminal stops them in order.

    Raises
    ------
    InvalidSetting
        If one is.
    """
    _configure("INFO")
    threading.excepthook = _log_exception
    # A handler would run in the middle of anything. All threads inherit this.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP, RELOAD})
    settings = Settings.from_environ()
    _configure(settings.log_level)
    # An association takes two descriptors, and shells allow 1,024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return settings


def _configure(level: str) -> None:
    log.configure(_SERVICE, level)
    # The relay says what is the matter with Kafka; its client says it every second.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    # pydicom's warnings quote the values of a command set.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module="pydicom")


def _log_exception(what: threading.ExceptHookArgs) -> None:
    # The default prints the exception's text, which may quote what was received.
    if what.exc_value is not None:
        _log.error("a thread failed", exc_info=what.exc_value)


def cores() -> int:
    """Cores this process may use: of the machine, its affinity and its cgroup's quota."""
    available = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return available
    return available if quota == "max" else max(1, min(available, -(-int(quota) // int(period))))


def outbox_folder(spool: Path, number: int) -> Path:
    """Folder of a receiver's outbox."""
    return spool / "outbox" / f"receiver-{number}"


def receiver_of(folder: Path) -> int:
    """Which receiver's outbox a folder is; -1 if it is none's."""
    kind, _, number = folder.name.rpartition("-")
    return int(number) if kind == "receiver" and number.isdecimal() else -1


def entities_message(titles: tuple[str, ...], text: str | None) -> dict[str, Any]:
    """Message that tells receivers who may send what to whom."""
    return {"entities": text, "titles": list(titles)}


def entities_of(message: dict[str, Any]) -> ApplicationEntities:
    """Read that message.

    Raises
    ------
    InvalidSetting
        If it is not what `entities_message` made of something valid.
    """
    if message["entities"] is None:
        return ApplicationEntities.from_titles(message["titles"])
    return ApplicationEntities.from_toml(message["entities"])

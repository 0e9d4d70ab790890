"""``python -m scp_gateway``: run the gateway until SIGTERM or SIGINT."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from typing import Final

import pydicom.config

from pacsless import log
from pacsless.bus import Producer
from pacsless.errors import PacslessError
from pacsless.settings import Settings
from scp_gateway.gateway import Gateway
from scp_gateway.settings import GatewaySettings

_STOP: Final = {signal.SIGTERM, signal.SIGINT}
_SWEEP_SECONDS: Final = 3600.0
_log = logging.getLogger("scp_gateway")


def main() -> int:
    """Run; return the exit code."""
    _configure("INFO")
    threading.excepthook = _log_exception
    # Waited for below; a handler would run in the middle of anything. All
    # threads inherit this.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    try:
        settings, own = Settings.from_environ(), GatewaySettings.from_environ()
        _configure(settings.log_level)
        gateway = Gateway(settings, own, Producer(settings, "scp-gateway"))
    except (PacslessError, OSError) as error:
        _log.error("cannot start: %s", error)
        return 1
    gateway.start()
    while signal.sigtimedwait(_STOP, _SWEEP_SECONDS) is None:
        gateway.sweep()
    gateway.stop()
    # The producer is not closed: what counts is acknowledged, and the rest is
    # in the outbox, so there is nothing to wait for.
    return 0


def _configure(level: str) -> None:
    log.configure("scp-gateway", level)
    # The relay says what is the matter with Kafka; its client says it every second.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    # pydicom's warnings quote the values of a command set.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module="pydicom")


def _log_exception(what: threading.ExceptHookArgs) -> None:
    # The default prints the exception's text, which may quote what was received.
    if what.exc_value is not None:
        _log.error("a thread failed", exc_info=what.exc_value)


if __name__ == "__main__":
    sys.exit(main())

"""``python -m scp_gateway``: run the gateway until SIGTERM or SIGINT; SIGHUP reloads."""

from __future__ import annotations

import logging
import signal
import sys
import time
from typing import Final

from pacsless.bus import Producer
from pacsless.errors import PacslessError
from scp_gateway import process
from scp_gateway.gateway import Gateway
from scp_gateway.settings import GatewaySettings

_LOOK_SECONDS: Final = 2.0
_SWEEP_SECONDS: Final = 3600.0
_log = logging.getLogger("scp_gateway")


def main() -> int:
    """Run; return the exit code."""
    try:
        settings = process.begin()
        own = GatewaySettings.from_environ()
        gateway = Gateway(settings, own, Producer(settings, "scp-gateway"))
    except (PacslessError, OSError) as error:
        _log.error("cannot start: %s", error)
        return 1
    gateway.start()
    swept_at = time.monotonic()
    while True:
        caught = signal.sigtimedwait({*process.STOP, process.RELOAD}, _LOOK_SECONDS)
        if caught is not None and caught.si_signo in process.STOP:
            break
        if caught is not None:
            gateway.reload()
        else:
            gateway.look()
        if time.monotonic() - swept_at > _SWEEP_SECONDS:
            gateway.sweep()
            swept_at = time.monotonic()
    gateway.stop()
    # The producer is not closed: what counts is acknowledged, and the rest is
    # in the outbox, so there is nothing to wait for.
    return 0


if __name__ == "__main__":
    sys.exit(main())

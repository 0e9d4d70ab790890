"""access_log_queue → a file: does to a trigger what functions do.

Each event's ``route`` says what happens to it; ``RECORD`` names the file.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from pacsless.codec import Delivered
from pacsless.errors import Unavailable, Unprocessable
from pacsless.events import AccessLogged
from pacsless.handler import handles


@handles(AccessLogged)
def record_access(batch: Sequence[Delivered[AccessLogged]]) -> None:
    """Record the batch's requests, all or none."""
    record = Path(os.environ["RECORD"])
    for one in batch:
        match one.event.route:
            case "poison":
                raise Unprocessable("truncated", "the file ends early")
            case "bug":
                raise ValueError(one.event.user_agent)
            case "crash":
                os._exit(1)
            case "crash-both":
                os.kill(int(record.with_suffix(".trigger").read_text()), signal.SIGKILL)
                os._exit(1)
            case "slow":
                time.sleep(0.3)
            case "down" if not record.with_suffix(".up").exists():
                raise Unavailable("database", "PostgreSQL does not answer")
    with open(record, "a") as file:
        file.write("".join(f"{one.event.study_instance_uid} {one.id}\n" for one in batch))

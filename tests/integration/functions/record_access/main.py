"""access_log_queue → a file: does to a trigger what functions do.

Each event's ``route`` says what happens to it; ``RECORD`` names the file. A study
that is in two hands at once leaves a file beside it that ends in ``.overlap``.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pacsless.codec import Delivered
from pacsless.errors import Unavailable, Unprocessable
from pacsless.events import AccessLogged
from pacsless.handler import handles


@handles(AccessLogged)
def record_access(batch: Sequence[Delivered[AccessLogged]]) -> None:
    """Record the batch's requests, all or none."""
    record = Path(os.environ["RECORD"])
    with ExitStack() as hands:
        for study in {one.event.study_instance_uid for one in batch}:
            hands.enter_context(_in_hand(record, study))
        _record(record, batch)


@contextmanager
def _in_hand(record: Path, study: str) -> Iterator[None]:
    with open(f"{record}.{study}.hand", "w") as hand:
        try:
            fcntl.flock(hand, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            record.with_suffix(".overlap").touch()
        yield


def _record(record: Path, batch: Sequence[Delivered[AccessLogged]]) -> None:
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

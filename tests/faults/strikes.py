"""What is killed, when and how."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from tests.faults.load import Load
from tests.faults.system import System

FLUSHALL: Final = "FLUSHALL"
WORKER: Final = "worker"
_AFTERWARDS: Final = 0.4
"""Share of the strikes that come when all is sent and events are still being handled."""
_LONGEST_SECONDS: Final = 2.0


class Blow(NamedTuple):
    """A part, and what is done to it: a signal's name, `FLUSHALL`, or `WORKER` for
    SIGKILL of one of its children."""

    part: str
    how: str


class Strike(NamedTuple):
    """A blow and its moment."""

    at: float
    """Share of the instances that is acknowledged then; above 1, after the last."""
    blow: Blow
    worker: int


_WEIGHTS: Final = {
    Blow("extract_tags-trigger", "KILL"): 5,
    Blow("build_metadata-trigger", "KILL"): 4,
    Blow("load_doris-trigger", "KILL"): 4,
    Blow("extract_tags", "KILL"): 3,
    Blow("extract_tags", WORKER): 5,
    Blow("build_metadata", "KILL"): 2,
    Blow("build_metadata", WORKER): 4,
    Blow("load_doris", "KILL"): 2,
    Blow("load_doris", WORKER): 4,
    Blow("postgres", "KILL"): 4,
    Blow("postgres", "QUIT"): 3,
    Blow("redis", "KILL"): 2,
    Blow("redis", FLUSHALL): 2,
    Blow("kafka", "KILL"): 4,
    Blow("warehouse", "KILL"): 3,
    Blow("scp-gateway", "KILL"): 1,
    Blow("wado_rs", "KILL"): 1,
    Blow("qido_rs", "KILL"): 1,
    Blow("nginx", "KILL"): 1,
    Blow("access-log", "KILL"): 1,
}


def plan(count: int, chance: random.Random) -> list[Strike]:
    """Choose the strikes of a round."""
    blows = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=count)
    moments = sorted(chance.random() / (1 - _AFTERWARDS) for _ in blows)
    return [
        Strike(at, blow, chance.randrange(1000)) for at, blow in zip(moments, blows, strict=True)
    ]


class Striker:
    """Carries out a round's strikes.

    Parameters
    ----------
    system
        Whose parts.
    load
        Whose progress says when.
    strikes
        In order.
    say
        Told of each.
    """

    def __init__(
        self, system: System, load: Load, strikes: list[Strike], say: Callable[[str], None]
    ) -> None:
        self.done: Counter[Blow] = Counter()
        self._system, self._load, self._strikes, self._say = system, load, strikes, say
        self._pause = threading.Event()

    def run(self) -> None:
        """Strike until all is sent and the last strike is done."""
        before = 1.0
        for strike in self._strikes:
            if strike.at < 1:
                self._load.wait_for(int(strike.at * self._load.total))
            else:
                self._load.join()
                # Moments above 1 lie within the share that comes afterwards.
                self._pause.wait((strike.at - before) * _LONGEST_SECONDS * len(self._strikes))
                before = strike.at
            self._strike(strike)

    def _strike(self, strike: Strike) -> None:
        part, how = strike.blow
        if how == FLUSHALL:
            hit = self._system.flush_redis()
        elif how == WORKER:
            hit = self._system.signal(part, signal.SIGKILL, worker=strike.worker)
        else:
            hit = self._system.signal(part, signal.Signals[f"SIG{how}"])
        self.done[strike.blow] += hit
        self._say(f"{part} {how}{'' if hit else ' (it was down)'}")


def per_part(done: Counter[Blow]) -> dict[str, int]:
    """Count the strikes by part and way."""
    return {f"{part} {how}": count for (part, how), count in sorted(done.items()) if count}

"""Senders with so many instances to store, which they send until each is acknowledged."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pacsless.send.association import ConnectionLost
from pacsless.send.pdu import Receiver
from tests.crash.load import SMALL, Instances, SenderLedger, associate, store

TENANTS: Final = {"default": "PACSLESS", "rival": "RIVAL"}
"""Tenant to the AE title it answers to."""

_DUPLICATES: Final = 0.05
_AGAIN_SECONDS: Final = 0.1
_GIVE_UP_SECONDS: Final = 300.0


def plan(
    number: int, count: int, known: Mapping[str, Sequence[int]], chance: random.Random
) -> dict[str, list[int]]:
    """Choose the instances each tenant is sent in a round, by number.

    Half of the numbers, and so of the UIDs, are both tenants'. Some stand twice,
    or were sent in a round before.

    Parameters
    ----------
    number, count
        Of the round, from 0; how many instances.
    known
        What each tenant was sent in the rounds before.
    chance
        Chooses.
    """
    planned = {}
    for index, tenant in enumerate(TENANTS):
        start = number * count + index * count // 4
        fresh = list(range(start, start + max(1, count // 2)))
        again = chance.choices([*known[tenant], *fresh], k=int(len(fresh) * _DUPLICATES))
        planned[tenant] = fresh + again
        chance.shuffle(planned[tenant])
    return planned


class Load:
    """One round of sending.

    Parameters
    ----------
    port
        Of the gateway.
    instances
        Of each tenant.
    planned
        Which of them to send.
    ledger
        Where it is written down.
    folder
        For the files being sent.
    senders
        How many associations at a time for each tenant.
    seed
        Of the lengths of associations.
    """

    def __init__(
        self, port: int, instances: Mapping[str, Instances], planned: Mapping[str, list[int]],
        *, ledger: SenderLedger, folder: Path, senders: int, seed: str,
    ) -> None:  # fmt: skip
        self.ledger = ledger
        self.total = sum(map(len, planned.values()))
        self.refused: list[str] = []
        """What was answered with another status than 0x0000, or never taken."""
        self._folder = folder
        self._progress = threading.Condition()
        self._done = 0
        self._over = threading.Event()
        self._threads = []
        for tenant, numbers in planned.items():
            receiver = Receiver("127.0.0.1", port, TENANTS[tenant], "FAULTS", 60.0)
            waiting = deque(numbers)
            for one in range(senders):
                name = f"{tenant}-{one}"
                chance = random.Random(f"{seed}/{name}")
                self._threads.append(
                    threading.Thread(
                        target=self._send_all,
                        args=(name, receiver, instances[tenant], waiting, chance),
                    )
                )

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Leave the rest unsent."""
        self._over.set()
        self.join()

    def join(self) -> None:
        """Return when everything is acknowledged, or given up."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    @property
    def running(self) -> bool:
        """Whether somebody still sends."""
        return any(one.is_alive() for one in self._threads)

    def wait_for(self, count: int) -> None:
        """Return when so many are acknowledged, or nobody sends any more."""
        with self._progress:
            while self._done < count and self.running:
                self._progress.wait(0.5)

    def _send_all(
        self, name: str, receiver: Receiver, instances: Instances, waiting: deque[int],
        chance: random.Random,
    ) -> None:  # fmt: skip
        path = self._folder / name
        last = time.monotonic()
        while waiting and not self._over.is_set():
            number = -1
            try:
                with associate(receiver) as association:
                    for _ in range(chance.randint(1, 80)):
                        try:
                            number = waiting.popleft()
                        except IndexError:
                            return
                        instance, content = instances.make(number, SMALL)
                        path.write_bytes(content)
                        status = store(association, path, instance, self.ledger)
                        if status:
                            self.refused.append(f"{instance.key}: {status:04X}")
                        number, last = -1, time.monotonic()
                        with self._progress:
                            self._done += 1
                            self._progress.notify_all()
            except ConnectionLost as error:
                self.ledger.lost(error.message)
                if number >= 0:
                    waiting.append(number)
                if time.monotonic() - last > _GIVE_UP_SECONDS:
                    self.refused.append(f"{name}: nothing taken for {_GIVE_UP_SECONDS:.0f} s")
                    return
                self._over.wait(_AGAIN_SECONDS)

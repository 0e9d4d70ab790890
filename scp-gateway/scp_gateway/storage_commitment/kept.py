"""A transaction as the parent sees it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from scp_gateway.storage_commitment.commitment import Damaged

if TYPE_CHECKING:
    from scp_gateway.storage_commitment.deliver import Deliverer
    from scp_gateway.storage_commitment.transactions import Held

_HELD_SECONDS: Final = 1.0
_FAILED_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


class Kept:
    """A transaction as the `Deliverer` knows it; held only while something is done about it."""

    def __init__(self, deliverer: Deliverer, name: str) -> None:
        self.backoff = deliverer.new_backoff()
        self._deliverer = deliverer
        self._name = name
        self._judging = deliverer.judging()

    def judge(self) -> float | None:
        """Go on with the check (see `scp_gateway.storage_commitment.work.Work`)."""
        return self._with_held(self._judge)

    def report(self) -> float | None:
        """Try to deliver the result."""
        return self._with_held(self._report)

    def end(self) -> None:
        """Leave it to the next look."""
        self._deliverer.forget(self._name)

    def _judge(self, held: Held) -> float | None:
        commitment = held.load()
        if held.result(commitment) is not None:
            return None
        return self._judging.step(held, commitment)

    def _report(self, held: Held) -> float | None:
        commitment = held.load()
        result = held.result(commitment)
        # Without a result it was finished and asked for anew: the next look finds it.
        return None if result is None else self._deliverer.deliver(held, commitment, result)

    def _with_held(self, step: Callable[[Held], float | None]) -> float | None:
        try:
            held = self._deliverer.transactions.hold(self._name)
            if held is None:
                still = self._deliverer.transactions.is_pending(self._name)
                return _HELD_SECONDS if still else None
            try:
                return step(held)
            except Damaged as error:
                self._deliverer.give_up_damaged(held, error)
                return None
            finally:
                held.release()
        except Exception:  # noqa: BLE001  # tried again, whatever it is, but not every second
            _log.exception("a storage commitment could not be worked on")
            return _FAILED_SECONDS

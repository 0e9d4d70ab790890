"""How many workers a function needs, given how much waits: no I/O, no clock."""

from __future__ import annotations

from collections import deque

from pacsless.policy import ScalePolicy


class Scaling:
    """Counts as KEDA and the autoscaler behind it do.

    Needed is ceil(lag / lag_threshold), within the policy's limits. Wanted is the
    most that was needed within the cooldown: workers come at once and go late, the
    last one included.

    Parameters
    ----------
    policy
        The function's.
    """

    def __init__(self, policy: ScalePolicy) -> None:
        self._policy = policy
        self._needed: deque[tuple[float, int]] = deque()
        """When how many were needed last; fewer and fewer."""

    def wanted(self, lag: int, now: float) -> int:
        """Say how many workers there should be.

        Parameters
        ----------
        lag
            Events that are not handled, those in hand included.
        now
            Seconds, of a clock that never goes back.
        """
        policy = self._policy
        needed = -(-lag // policy.lag_threshold)
        needed = min(max(needed, policy.min_workers), policy.max_workers)
        while self._needed and self._needed[-1][1] <= needed:
            self._needed.pop()
        self._needed.append((now, needed))
        while now - self._needed[0][0] > policy.cooldown_s:
            self._needed.popleft()
        return self._needed[0][1]

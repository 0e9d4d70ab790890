"""What to do next with a lane's events, given what became of the last: no I/O, no clock.

A lane hands out one batch at a time and keeps the order of each partition. Its
life, for a batch::

    dispatch ─ done ───────▶ forget it, next batch
             ├ refused ────▶ halve it; a single event is a dead letter
             ├ failed ─────▶ again, after a pause; after so many attempts: as refused
             └ down, busy ─▶ again, after a pause, for ever; no attempt is counted

The attempt is counted when the batch is handed out, and `Lane.positions` states
it: whoever commits them before dispatching knows of it after a crash.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, NamedTuple

from pacsless.bus import Partition, Position
from pacsless.policy import TriggerPolicy
from pacsless.trigger.actions import EXHAUSTED, Action, Bury, Dispatch, Fate, Item, Wait

_LONGEST_REST: Final = 15.0
_METADATA: Final = re.compile(r"attempts=(\d{1,6});upto=(\d{1,18})")


@dataclass(frozen=True, slots=True)
class _Group:
    """Events that go out together."""

    items: tuple[Item, ...]
    attempts: int = 0
    code: str = ""
    """Of the last failure."""
    condemned: bool = False
    """A single event on its way to the dead letters."""


class _Waiting(NamedTuple):
    item: Item
    since: float
    attempts: int


class Lane:
    """Events of one partition, or of several that are gathered.

    Parameters
    ----------
    policy
        The topic's.
    """

    def __init__(self, policy: TriggerPolicy) -> None:
        self._policy = policy
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._groups: deque[_Group] = deque()
        self._busy = False
        self._began = 0.0
        self._not_before = 0.0
        self._downs = 0
        self._next: dict[Partition, int] = {}
        self._read: dict[Partition, int] = {}
        """The last offset that was read of each, or before the first to read."""
        self._suspects: dict[Partition, tuple[int, int]] = {}
        self._stamps: dict[Partition, float] = {}
        """Timestamp of the last event that was read of each."""

    def adopt(self, partition: Partition, position: Position | None) -> None:
        """Take a partition over from whoever committed `position`.

        Events whose attempts that one had counted start with as many.
        """
        self._next[partition] = position.offset if position else 0
        self._read[partition] = self._next[partition] - 1
        told = _METADATA.fullmatch(position.metadata) if position else None
        if told:
            self._suspects[partition] = (int(told[1]), int(told[2]))

    def add(self, item: Item, now: float) -> None:
        """Append an event that was just read."""
        went_back = item.offset <= self._read[item.partition]
        self._read[item.partition] = item.offset
        self._stamps[item.partition] = item.message.timestamp
        if went_back:
            # The log was made anew, or cut off by a crash of the broker: these
            # are other events, or a replay, which changes nothing.
            self._next[item.partition] = item.offset
            self._suspects.pop(item.partition, None)
        elif item.offset < self._next[item.partition]:
            return  # read again after a rebalance, but done
        attempts, upto = self._suspects.get(item.partition, (0, -1))
        counted = attempts if item.offset <= upto else 0
        self._waiting.append(_Waiting(item, now, counted))
        self._bytes += len(item.body)

    @property
    def wants_more(self) -> bool:
        """Whether reading on is useful: a batch in flight and the next one are enough."""
        policy = self._policy
        return len(self._waiting) < 2 * policy.max_events and self._bytes < 2 * policy.max_bytes

    @property
    def busy(self) -> bool:
        """Whether an action is not settled yet."""
        return self._busy

    @property
    def pending(self) -> int:
        """How many events are not done of those that were read."""
        return len(self._waiting) + sum(len(one.items) for one in self._groups)

    def oldest(self, partition: Partition) -> float | None:
        """Timestamp of a partition's first event that is not done.

        If none is in hand, that of the last that was: the next to be read is about
        as old. None if nothing was read of it yet.
        """
        grouped = (item for group in self._groups for item in group.items)
        waiting = (one.item for one in self._waiting)
        for item in chain(grouped, waiting):
            if item.partition == partition:
                return item.message.timestamp
        return self._stamps.get(partition)

    def last_chance(self, now: float) -> bool:
        """Whether the next attempt is due and the last of an event that has failed before."""
        group = self._groups[0] if self._groups else None
        if group is None or group.condemned or self._busy or now < self._not_before:
            return False
        return len(group.items) == 1 and 0 < group.attempts == self._policy.attempts - 1

    def next(self, now: float) -> Action:
        """Decide what to do now; what is to be done must be settled with `settle`."""
        if self._busy:
            return Wait(None)
        if now < self._not_before:
            return Wait(self._not_before)
        if not self._groups:
            wait = self._form(now)
            if wait is not None:
                return wait
        while not self._groups[0].condemned:
            group = self._groups[0]
            if group.attempts < self._policy.attempts:
                self._busy, self._began = True, now
                self._groups[0] = replace(group, attempts=group.attempts + 1)
                return Dispatch(group.items)
            # A half of a batch that used up its attempts gets one, a single
            # event all of its own: it may be innocent.
            self._isolate(group.code or EXHAUSTED, self._policy.attempts - 1)
        group = self._groups[0]
        self._busy = True
        return Bury(group.items[0], group.code, group.attempts)

    def settle(self, fate: Fate, code: str, now: float) -> None:
        """Say what became of the last action.

        Parameters
        ----------
        fate
            Of a `Bury`: DONE, or DOWN if the dead letters cannot be reached.
        code
            The failure's, for the dead letter.
        now
            Of the same clock as in `next`.
        """
        self._busy = False
        group = self._groups[0]
        if fate is not Fate.DOWN:
            self._downs = 0
        match fate:
            case Fate.DONE:
                self._groups.popleft()
                for item in group.items:
                    if item.partition in self._next:
                        at = max(self._next[item.partition], item.offset + 1)
                        self._next[item.partition] = at
                if not group.condemned and not self._groups:
                    took = now - self._began
                    self._not_before = now + min(self._policy.rest * took, _LONGEST_REST)
            case Fate.REFUSED:
                self._isolate(code, 0)
            case Fate.FAILED:
                self._groups[0] = replace(group, code=code)
                self._pause(group.attempts, now)
            case Fate.DOWN:
                self._uncount()
                self._downs += 1
                self._pause(self._downs, now)
            case Fate.BUSY:
                self._uncount()
                self._pause(1, now)
        self._forget_released()

    def positions(self) -> dict[Partition, Position]:
        """What to commit: all before it is done, and the attempts of what comes next."""
        group = self._groups[0] if self._groups else None
        last = {one.partition: one.offset for one in group.items} if group else {}
        return {
            partition: Position(
                offset,
                f"attempts={group.attempts};upto={last[partition]}"
                if group and group.attempts and partition in last
                else "",
            )
            for partition, offset in self._next.items()
        }

    def release(self, partition: Partition) -> Position | None:
        """Give a partition up.

        Returns
        -------
        Position or None
            What to commit last: an attempt whose end nobody knows yet is not
            counted, as nothing crashed.
        """
        if self._busy:
            self._uncount()
        position = self.positions().get(partition)
        if self._busy and self._groups and not self._groups[0].condemned:
            group = self._groups[0]
            self._groups[0] = replace(group, attempts=group.attempts + 1)
        self._next.pop(partition, None)
        self._read.pop(partition, None)
        self._suspects.pop(partition, None)
        self._stamps.pop(partition, None)
        self._waiting = deque(one for one in self._waiting if one.item.partition != partition)
        self._bytes = sum(len(one.item.body) for one in self._waiting)
        self._forget_released()
        return position

    def _form(self, now: float) -> Wait | None:
        """Make the next group, or say how long to wait for more."""
        if not self._waiting:
            return Wait(None)
        policy, head = self._policy, self._waiting[0]
        if head.item.code:
            self._take(1, condemned=True)
            return None
        count = size = 0
        for one in self._waiting:
            fits = count < policy.max_events and size + len(one.item.body) <= policy.max_bytes
            alike = not one.item.code and one.attempts == head.attempts
            together = not head.attempts or one.item.partition == head.item.partition
            if count and not (fits and alike and together):
                break
            count, size = count + 1, size + len(one.item.body)
        full = count < len(self._waiting) or count >= policy.max_events or size >= policy.max_bytes
        due = head.since + policy.linger_ms / 1000
        if not full and now < due:
            return Wait(due)
        self._take(count, condemned=False)
        return None

    def _take(self, count: int, condemned: bool) -> None:
        taken = [self._waiting.popleft() for _ in range(count)]
        items = tuple(one.item for one in taken)
        self._bytes -= sum(len(one.body) for one in items)
        self._groups.append(_Group(items, taken[0].attempts, items[0].code, condemned))

    def _isolate(self, code: str, attempts: int) -> None:
        """Halve the first group; condemn a single event."""
        group = self._groups.popleft()
        middle = len(group.items) // 2
        if not middle:
            self._groups.appendleft(replace(group, code=code, condemned=True))
            return
        for items in (group.items[middle:], group.items[:middle]):
            self._groups.appendleft(_Group(items, attempts if len(items) > 1 else 0))

    def _uncount(self) -> None:
        group = self._groups[0] if self._groups else None
        if group and not group.condemned:
            self._groups[0] = replace(group, attempts=max(0, group.attempts - 1))

    def _pause(self, times: int, now: float) -> None:
        policy = self._policy
        self._not_before = now + min(
            policy.backoff_s * 2 ** min(times - 1, 30), policy.backoff_max_s
        )

    def _forget_released(self) -> None:
        """Drop events of partitions that were given up, unless they are in flight."""
        kept: deque[_Group] = deque()
        for index, group in enumerate(self._groups):
            items = tuple(one for one in group.items if one.partition in self._next)
            if index == 0 and self._busy:
                kept.append(group)
            elif items:
                kept.append(replace(group, items=items))
        self._groups = kept

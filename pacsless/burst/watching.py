"""Sending a load and looking at the archive until everything has arrived everywhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pacsless.burst.load import Load
from pacsless.burst.probes import Addresses, Probes
from pacsless.burst.sending import Sending
from pacsless.burst.templates import Identifiers, patient_prefix, study_prefix
from pacsless.burst.timeline import Sample, Timeline
from pacsless.send.pdu import Receiver

_ASK_AGAIN_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to send and to look.

    Attributes
    ----------
    senders, rate
        See `Sending`.
    interval
        Seconds between two looks.
    patience
        Seconds without any progress after which watching ends.
    after
        Seconds to go on looking when everything has arrived.
    """

    senders: int = 4
    rate: float | None = None
    interval: float = 1.0
    patience: float = 60.0
    after: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What became of a load."""

    timeline: Timeline
    bytes: int
    statuses: Counter[int | None]
    complete: bool
    """Whether everything was stored and arrived wherever could be asked."""
    problems: list[str] = field(default_factory=list)


def run(
    receiver: Receiver,
    load: Load,
    addresses: Addresses,
    options: Options,
    on_sample: Callable[[Sample], None] = lambda sample: None,
) -> Outcome:
    """Send a load and watch it.

    Parameters
    ----------
    receiver
        Where to send to.
    load
        What to send.
    addresses
        Where to ask.
    options
        How.
    on_sample
        Told of each look.
    """
    sending = Sending(receiver, load, options.senders, options.rate)
    probes = Probes(addresses, patient_prefix(load.run), study_prefix(load.run))
    watch = _Watch(sending, probes, Timeline(load.instances, sending.acknowledged))
    try:
        sending.start()
        complete = watch.until_quiet(options, on_sample)
    finally:
        sending.stop()
        watch.stop()
        probes.close()
    problems = [*dict.fromkeys([sending.problem, *probes.problems.values()])]
    return Outcome(
        watch.timeline,
        sending.bytes,
        sending.statuses,
        complete and sending.acknowledged.count == load.instances,
        [one for one in problems if one],
    )


class _Watch:
    """Looks at one load."""

    def __init__(self, sending: Sending, probes: Probes, timeline: Timeline) -> None:
        self._sending, self._probes, self.timeline = sending, probes, timeline
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, name="reader")

    def until_quiet(self, options: Options, on_sample: Callable[[Sample], None]) -> bool:
        """Look until everything is everywhere; return whether it came to that."""
        self._reader.start()
        seen: tuple[object, ...] = ()
        progress = time.monotonic()
        quiet_since: float | None = None
        while True:
            began = time.monotonic()
            # What has arrived everywhere is not asked for any more: each answer of QIDO-RS
            # is an event for the access log, and no worker would ever be let go of.
            sample = self._look(arrived=quiet_since is not None)
            on_sample(sample)
            state = (sample.acknowledged, sample.backlog, sample.indexed, sample.described,
                     sample.loaded)  # fmt: skip
            if state != seen:
                seen, progress = state, began
            if self._sending.done and _everywhere(sample, self.timeline.acknowledged.count):
                quiet_since = quiet_since or began
                if began - quiet_since >= options.after:
                    return True
            elif began - progress > options.patience:
                return False
            self._stop.wait(max(0.0, began + options.interval - time.monotonic()))

    def stop(self) -> None:
        """End the reader."""
        self._stop.set()
        if self._reader.is_alive():
            self._reader.join()

    def _look(self, *, arrived: bool) -> Sample:
        probes, timeline = self._probes, self.timeline
        # In the direction events go: what leaves one place meanwhile is seen in the next.
        at, acknowledged = self._now(), self._sending.acknowledged.count
        outbox, lag, workers = probes.outbox(), probes.lag(), probes.workers()
        for milestone, question in (
            (timeline.indexed, probes.indexed),
            (timeline.described, probes.described),
            (timeline.loaded, probes.loaded),
        ):
            counts = None if arrived else question()
            if counts is not None:
                milestone.see(counts, self._now())
        asked = self._probes.addresses
        sample = Sample(
            at=at,
            acknowledged=acknowledged,
            outbox=outbox,
            lag=lag,
            workers=workers,
            indexed=timeline.indexed.count if asked.dicomweb else None,
            described=timeline.described.count if asked.postgres else None,
            loaded=timeline.loaded.count if asked.sql else None,
        )
        timeline.samples.append(sample)
        return sample

    def _read(self) -> None:
        """Ask WADO-RS for the instance that was acknowledged last, time and again."""
        if not self._probes.addresses.dicomweb:
            return
        asked: Identifiers | None = None
        while not self._stop.is_set():
            last = self._sending.last
            if last is None or last[1] is asked:
                self._stop.wait(_ASK_AGAIN_SECONDS)
                continue
            acknowledged, asked = last
            while not self._probes.answers(asked) and not self._stop.is_set():
                self._stop.wait(_ASK_AGAIN_SECONDS)
            self.timeline.answered.append((acknowledged, self._now() - acknowledged))
            self._stop.wait(0.5)

    def _now(self) -> float:
        return time.monotonic() - self._sending.began


def _everywhere(sample: Sample, count: int) -> bool:
    places = (sample.indexed, sample.described, sample.loaded)
    return sample.backlog in (0, None) and all(one in (count, None) for one in places)

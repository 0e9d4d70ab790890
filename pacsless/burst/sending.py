"""The senders: each sends whole studies over an association of its own, as modalities do."""

from __future__ import annotations

import io
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from pacsless.burst.load import Load
from pacsless.burst.templates import Identifiers, Template
from pacsless.burst.timeline import Acknowledged
from pacsless.errors import PacslessError
from pacsless.send.association import (
    MAX_CONTEXTS,
    Association,
    ConnectionLost,
    NotAccepted,
    back_off,
)
from pacsless.send.pdu import Context, Receiver

_RETRIES = 8


class Sending:
    """Several senders at work.

    Parameters
    ----------
    receiver
        Where to.
    load
        What.
    senders
        Associations at a time; a study goes over one.
    rate
        Instances a second of all together; as fast as possible if None.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        receiver: Receiver,
        load: Load,
        senders: int,
        rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receiver, self._load, self._rate, self._clock = receiver, load, rate, clock
        self._contexts = _contexts(load.templates)
        self._studies = iter(range(load.studies))
        self._number = itertools.count()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"sender-{number}")
            for number in range(min(senders, load.studies))
        ]
        self.acknowledged = Acknowledged()
        self.last: tuple[float, Identifiers] | None = None
        """The instance that was acknowledged last, and when."""
        self.statuses: Counter[int | None] = Counter()
        """Final status of each instance; None if there was none."""
        self.bytes = 0
        """Of the data sets that were acknowledged."""
        self.began = 0.0
        self.problem = ""
        """Why a sender gave up, or an instance was not stored; the last reason."""

    def start(self) -> None:
        """Begin."""
        self.began = self._clock()
        for one in self._threads:
            one.start()

    @property
    def done(self) -> bool:
        """Whether every sender has ended."""
        return not any(one.is_alive() for one in self._threads)

    def stop(self) -> None:
        """Send nothing more, and wait for the answers that are due."""
        self._stop.set()
        for one in self._threads:
            one.join()

    def _work(self) -> None:
        buffers = {id(one): bytearray(one.content) for one in self._load.templates}
        association: Association | None = None
        try:
            while not self._stop.is_set():
                with self._lock:
                    study = next(self._studies, None)
                if study is None:
                    break
                for identifiers, template in self._load.study(study):
                    self._await_turn()
                    if self._stop.is_set():
                        break
                    buffer = buffers[id(template)]
                    template.write(identifiers, buffer)
                    association = self._send(association, identifiers, template, buffer)
        except PacslessError as error:
            self.problem = error.message
        finally:
            if association is not None:
                association.__exit__(None, None, None)

    def _await_turn(self) -> None:
        if self._rate is not None:
            due = self.began + next(self._number) / self._rate
            self._stop.wait(max(0.0, due - self._clock()))

    def _send(
        self,
        association: Association | None,
        identifiers: Identifiers,
        template: Template,
        buffer: bytearray,
    ) -> Association | None:
        """Send an instance until its status is final; return the association to go on with."""
        status: int | None = None
        context = Context(template.sop_class_uid, template.transfer_syntax)
        for attempt in range(_RETRIES + 1):
            if attempt:
                self._stop.wait(back_off(attempt))
            try:
                if association is None:
                    association = Association(self._receiver, self._contexts)
                data_set = io.BytesIO(buffer)
                data_set.seek(template.data_set_offset)
                answer = association.store_data_set(context, identifiers.sop_instance_uid, data_set)
            except ConnectionLost as error:
                self.problem = error.message
                if association is not None:
                    association.close()
                    association = None
                if attempt == _RETRIES:
                    raise
                continue
            except NotAccepted as error:
                self.problem = error.message
                break
            status = answer.status
            if status & 0xFF00 != 0xA700:
                break
        self._account(identifiers, status, len(buffer) - template.data_set_offset)
        return association

    def _account(self, identifiers: Identifiers, status: int | None, size: int) -> None:
        at = self._clock() - self.began
        with self._lock:
            self.statuses[status] += 1
            if status == 0:
                self.bytes += size
                self.last = at, identifiers
                self.acknowledged.add(
                    identifiers.study_instance_uid, identifiers.series_instance_uid, at
                )


def _contexts(templates: Sequence[Template]) -> list[Context]:
    found = list(
        dict.fromkeys(Context(one.sop_class_uid, one.transfer_syntax) for one in templates)
    )
    if len(found) > MAX_CONTEXTS:
        raise PacslessError(
            "contexts",
            f"the files are of {len(found)} SOP classes and transfer syntaxes; an association "
            f"takes {MAX_CONTEXTS}: name fewer files",
        )
    return found

"""Worker processes of a function, which the trigger starts and ends by what waits.

A worker is what a container runs, ``functions-framework``, on a loopback socket
that the trigger makes for it: a request to one that is still starting waits in
the socket, and its answer to ``/healthz`` says that it is ready.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pacsless.policy import ScalePolicy, TriggerPolicy
from pacsless.trigger.actions import Fate, Item
from pacsless.trigger.dispatch import Dispatcher, Outcome
from pacsless.trigger.scaling import Scaling

_logger: Final = logging.getLogger(__name__)

_LOOPBACK: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
_BACKOFF_SECONDS: Final = (0.5, 15.0)
# What has no batch in hand ends at once; gunicorn ends a thread that hangs after 30 s.
_STOP_SECONDS: Final = 35.0


class Worker:
    """One process, and the batches it has in hand.

    Parameters
    ----------
    environ
        Its environment, which says which function it serves.
    policy
        How it is fed.
    now
        Monotonic seconds.
    """

    def __init__(self, environ: Mapping[str, str], policy: TriggerPolicy, now: float) -> None:
        self.started = now
        self.ready = False
        self.leaving = 0.0
        """Since when it is to end; 0 if it is not."""
        self._told = False
        self.busy = 0
        """Batches in hand; changed under the pool's lock."""
        with socket.create_server((_LOOPBACK, 0), backlog=64) as listener:
            port = listener.getsockname()[1]
            number = listener.fileno()
            # The kernel ends it with the thread that starts it: the trigger's main
            # thread, which lives as long as the trigger.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pacsless.serve", str(os.getpid()), str(number)],
                env=environ,
                pass_fds=(number,),
                stdin=subprocess.DEVNULL,
            )
            self._asked = socket.create_connection((_LOOPBACK, port))
        self._asked.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        self.dispatcher = Dispatcher(
            f"http://{_LOOPBACK}:{port}/", policy.timeout_s, policy.concurrency
        )

    def look(self) -> bool | None:
        """See whether it has become ready: None for not yet, False for never."""
        if not select.select([self._asked], [], [], 0)[0]:
            return None
        with self._asked:
            try:
                status = self._asked.recv(64).split(maxsplit=2)[1:2]
            except OSError:
                status = []
        self.ready = status == [b"200"]
        return self.ready

    def end(self, *, kill: bool = False) -> None:
        """Tell it to end, once; `process` says when it has."""
        self._asked.close()
        if kill:
            self.process.kill()
        elif not self._told:
            self._told = True
            self.process.terminate()


class Workers:
    """As many workers as the lag calls for.

    `keep` and `close` are for the trigger's main thread, `send` for any.

    Parameters
    ----------
    function
        The function's name.
    source
        Its ``main.py``.
    policy
        How it is fed.
    scale
        How many workers it has.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        function: str,
        source: Path,
        policy: TriggerPolicy,
        scale: ScalePolicy,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._scaling, self._clock = policy, Scaling(scale), clock
        self._environ = {
            **os.environ,
            "FUNCTION_TARGET": function,
            "FUNCTION_SOURCE": str(source),
            "HOST": _LOOPBACK,
        }
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._failures = 0
        self._not_before = 0.0
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="pacsless-")))
        self._number = 0

    @property
    def ready(self) -> bool:
        """Whether a batch can be sent."""
        return any(one.ready and not one.leaving for one in self._workers)

    @property
    def count(self) -> int:
        """How many there are, starting ones included and leaving ones not."""
        return sum(not one.leaving for one in self._workers)

    def keep(self, lag: int) -> bool:
        """Start and end workers; called in every round of the trigger's loop.

        Parameters
        ----------
        lag
            Events that are not handled.

        Returns
        -------
        bool
            Whether to come back soon, as one is starting or leaving.
        """
        now = self._clock()
        wanted = self._scaling.wanted(lag, now)
        self._reap(now)
        while self.count < wanted and now >= self._not_before:
            self._start(now)
        if self.count > wanted:
            self._let_go(self.count - wanted, now)
        return any(one.leaving or not one.ready for one in self._workers)

    def send(self, items: Sequence[Item]) -> Outcome:
        """Post a batch to the least busy worker and wait for the answer."""
        with self._lock:
            fit = [one for one in self._workers if one.ready and not one.leaving]
            if not fit:
                return Outcome(Fate.DOWN, "no-worker")
            worker = min(fit, key=lambda one: one.busy)
            worker.busy += 1
        try:
            return worker.dispatcher.send(items)
        finally:
            with self._lock:
                worker.busy -= 1

    def close(self) -> None:
        """End all workers and wait for them."""
        for one in self._workers:
            one.end()
        deadline = self._clock() + _STOP_SECONDS
        for one in self._workers:
            try:
                one.process.wait(max(0.0, deadline - self._clock()))
            except subprocess.TimeoutExpired:
                one.end(kill=True)
                one.process.wait()
        self._workers.clear()
        self._stack.close()

    def _start(self, now: float) -> None:
        self._number += 1
        # gunicorn puts a control socket there; without it all would share one.
        folder = self._folder / str(self._number)
        folder.mkdir()
        environ = self._environ | {"XDG_RUNTIME_DIR": str(folder)}
        self._workers.append(Worker(environ, self._policy, now))
        _logger.info("worker started", extra={"fields": {"workers": self.count}})

    def _let_go(self, count: int, now: float) -> None:
        """Choose who leaves: one that is starting, else one with the least in hand."""
        with self._lock:
            staying = [one for one in self._workers if not one.leaving]
            staying.sort(key=lambda one: (one.ready, one.busy, -one.started))
            for one in staying[:count]:
                one.leaving = now
        _logger.info("worker leaves", extra={"fields": {"workers": self.count}})

    def _reap(self, now: float) -> None:
        """Tell leaving workers to end when their hands are empty; forget who has ended."""
        for one in tuple(self._workers):
            status = one.process.poll()
            if status is not None:
                one.end()
                with self._lock:
                    self._workers.remove(one)
                if not one.leaving:
                    self._failed(one, "worker ended", now, status)
            elif one.leaving:
                late = now - one.leaving > self._policy.timeout_s + _STOP_SECONDS
                if not one.busy or late:
                    one.end(kill=late)
            elif not one.ready:
                self._await(one, now)

    def _await(self, worker: Worker, now: float) -> None:
        answer, seconds = worker.look(), now - worker.started
        if answer:
            self._failures = 0
            _logger.info("worker ready", extra={"fields": {"ms": round(seconds * 1000)}})
        elif answer is False or seconds > _START_SECONDS:
            self._failed(worker, "worker does not get ready", now, None)
            with self._lock:
                worker.leaving = now

    def _failed(self, worker: Worker, told: str, now: float, status: int | None) -> None:
        """Wait before the next start, longer each time; one that had worked is replaced at once."""
        if not worker.ready:
            first, longest = _BACKOFF_SECONDS
            self._not_before = now + min(first * 2 ** min(self._failures, 30), longest)
            self._failures += 1
        _logger.error(told, extra={"fields": {"status": status, "workers": self.count}})

"""Starting and stopping a stack."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from pacsless.errors import PacslessError
from pacsless.stack import configuration, kafka, parts, supervision
from pacsless.stack.errors import StackError
from pacsless.stack.parts import Part
from pacsless.stack.probes import NotReady
from pacsless.stack.settings import REPOSITORY, StackSettings
from pacsless.stack.supervision import Supervisor

Say = Callable[[str, float], None]
"""Told of each part that is ready: its name, and seconds since the start."""

CACHE: Final = REPOSITORY / ".pacsless" / "cache"
"""Downloads, shared by all stacks of this clone."""

_PATIENCE: Final = 60.0
_TAIL: Final = 15


@contextlib.contextmanager
def _alone(settings: StackSettings) -> Iterator[None]:
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (settings.home / "lock").open("w")
    except OSError as error:
        raise StackError(
            "home", f"PACSLESS_HOME, {settings.home}, cannot be written: {error.strerror}"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                "busy", f"the stack in {settings.home} is being started or stopped by another"
            ) from None
        yield


def up(settings: StackSettings, say: Say = lambda _name, _seconds: None) -> None:
    """Start what is not running, and return when every part is ready.

    Raises
    ------
    StackError
        If a port is taken, a program is missing, or a part does not get ready;
        the parts that did start keep running, so that they can be looked at.
    """
    with _alone(settings):
        _up(settings, say)


def _up(settings: StackSettings, say: Say) -> None:
    began = time.monotonic()
    supervisor = Supervisor(settings)
    there = supervisor.alive
    if not there:
        supervisor.end()  # of one that was killed
        _require_ports(settings)
    # initdb, and Kafka's format, take seconds the first time: together.
    with ThreadPoolExecutor(2) as pool:
        jars = pool.submit(kafka.jars, CACHE)
        pool.submit(settings.postgres.prepare).result()
        stores = parts.stores(settings, jars.result())
    configuration.write(settings)
    services = parts.services(settings)
    every = [*stores, *services]
    for part in every:
        (settings.run / part.name).mkdir(exist_ok=True, mode=0o700)
    if there and supervisor.configuration != supervision.configuration(
        every, settings, supervisor.control
    ):
        raise StackError(
            "changed",
            f"a stack with another configuration runs in {settings.home}: run make down first",
        )
    if not there:
        supervisor.launch(every, settings.environment())

    def ready(name: str) -> None:
        say(name, time.monotonic() - began)

    _start(supervisor, stores, ready)
    _migrate(settings)
    _start(supervisor, services, ready)


def _require_ports(settings: StackSettings) -> None:
    taken = settings.ports.in_use()
    if taken:
        told = ", ".join(f"{port} ({name})" for name, port in taken.items())
        first = next(iter(taken)).upper()
        raise StackError(
            "port",
            f"another program listens on {told}; stop it, move the part with "
            f"PACSLESS_PORT_{first}, or the whole stack with PACSLESS_PORT_BASE=20000",
        )


def _migrate(settings: StackSettings) -> None:
    from pacsless.postgres import migrate

    try:
        migrate(settings.client(), REPOSITORY / "schemas" / "postgres")
    except PacslessError as error:
        raise StackError(
            "postgres", f"the schema cannot be brought up to date: {error.message}"
        ) from error


def _start(supervisor: Supervisor, wanted: Sequence[Part], ready: Callable[[str], None]) -> None:
    supervisor.start(part.name for part in wanted)
    failed = threading.Event()
    with ThreadPoolExecutor(len(wanted)) as pool:
        waits = [pool.submit(_await, supervisor, part, ready, failed) for part in wanted]
        try:
            for wait in waits:
                wait.result()
        finally:
            failed.set()  # by Ctrl-C: the others need not go on waiting


def _await(
    supervisor: Supervisor, part: Part, ready: Callable[[str], None], failed: threading.Event
) -> None:
    """Wait until a part is ready; give up when it, or another, has failed."""
    deadline = time.monotonic() + _PATIENCE
    why = "its process does not stay"
    pause = 0.05
    while not failed.is_set():
        state = supervisor.state(part.name)
        if state == "RUNNING" or (state == "STARTING" and part.probe is not None):
            try:
                if part.probe is not None:
                    part.probe()
                ready(part.name)
                return
            except NotReady as error:
                why = str(error)
        if state == "FATAL" or time.monotonic() > deadline:
            failed.set()
            log = supervisor.settings.logs / f"{part.name}.log"
            raise StackError(
                part.name,
                f"{part.name} does not get ready: {why}.\n{tail(log)}\n"
                f"The whole log is {log}. Mend it and run make up again, or make down.",
            )
        failed.wait(pause)
        pause = min(pause * 1.3, 0.25)


def tail(log: Path, lines: int = _TAIL) -> str:
    """Last lines of a log, indented."""
    with contextlib.suppress(FileNotFoundError):
        text = log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"    {line}" for line in text)
    return "    (no log)"


def down(settings: StackSettings, *, wipe: bool = False) -> bool:
    """Stop everything and wait until no process is left.

    Parameters
    ----------
    settings
        Which stack.
    wipe
        Whether to remove its data, too; downloads stay.

    Returns
    -------
    bool
        Whether something was running.
    """
    if not settings.home.exists():
        return False
    with _alone(settings):
        supervisor = Supervisor(settings)
        was_up = supervisor.alive
        if was_up:
            stages = supervisor.stages
            for stage in sorted(set(stages.values()), reverse=True):
                supervisor.stop(name for name, its in stages.items() if its == stage)
        supervisor.end()
        if wipe:
            for entry in settings.home.iterdir():
                if entry.is_dir() and entry != CACHE:
                    shutil.rmtree(entry)
    return was_up

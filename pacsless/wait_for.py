"""``pacsless wait-for``: until what a part needs answers."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

import click

from pacsless.dependencies import DEPENDENCIES, Dependency
from pacsless.errors import PacslessError, Unavailable
from pacsless.settings import InvalidSetting, Settings

_PAUSE: Final = 1.0

_Told = tuple[str, Exception | None]
"""Name of a dependency, and what its check raised."""


class NotThere(PacslessError):
    """Something did not answer in time."""


@click.command("wait-for")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds.",
              type=click.FloatRange(0, min_open=True))  # fmt: skip
@click.argument("names", nargs=-1, required=True, type=click.Choice(list(DEPENDENCIES)))
def wait_for(names: tuple[str, ...], timeout: float) -> None:
    """Wait until each of these answers; exit 1 if one does not in time.

    Where they are is said by the settings of the environment. For Kubernetes'
    init containers and jobs.
    """
    # Kafka's client logs each try; what is wrong is told once here.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    wait({name: DEPENDENCIES[name] for name in names}, Settings.from_environ(), timeout)


def wait(
    wanted: Mapping[str, Dependency], settings: Settings, timeout: float, pause: float = _PAUSE
) -> None:
    """Wait for all of them at a time, telling of each what is new.

    Parameters
    ----------
    wanted
        By name.
    settings
        Where they are.
    timeout
        Seconds for all; a check that takes longer is not waited for.
    pause
        Seconds between two checks of one.

    Raises
    ------
    NotThere
        If one has not answered by then; says which, why and what to set.
    InvalidSetting
        If waiting cannot help.
    """
    began = time.monotonic()
    told: queue.SimpleQueue[_Told] = queue.SimpleQueue()
    for name, one in wanted.items():
        threading.Thread(
            target=_ask, args=(name, one, settings, told, pause), name=name, daemon=True
        ).start()
    reasons = dict.fromkeys(wanted, "no answer yet")
    deadline = began + timeout
    while reasons:
        try:
            name, error = told.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise _not_there(reasons, wanted, timeout) from None
        if error is None:
            del reasons[name]
            click.echo(f"{name} answers, after {time.monotonic() - began:.1f} s")
        elif isinstance(error, InvalidSetting) or not isinstance(error, PacslessError):
            raise error
        elif reasons[name] != error.message:
            reasons[name] = error.message
            click.echo(f"waiting for {name}: {error.message}", err=True)


def _ask(
    name: str,
    one: Dependency,
    settings: Settings,
    told: queue.SimpleQueue[_Told],
    pause: float,
) -> None:
    while True:
        try:
            one.check(settings)
        except Unavailable as error:
            told.put((name, error))
            time.sleep(pause)
        except Exception as error:  # noqa: BLE001  # raised where somebody sees it
            told.put((name, error))
            return
        else:
            told.put((name, None))
            return


def _not_there(
    reasons: Mapping[str, str], wanted: Mapping[str, Dependency], timeout: float
) -> NotThere:
    lines = [
        f"{name}: {why}; check {_listed(wanted[name].settings)}" for name, why in reasons.items()
    ]
    return NotThere(
        "not-there", "\n  ".join((f"not everything answers after {timeout:g} s:", *lines))
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)

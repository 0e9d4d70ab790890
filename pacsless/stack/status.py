"""How a stack is: its parts, what waits where, and where to find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from pacsless.errors import PacslessError
from pacsless.functions import load_functions
from pacsless.stack import configuration
from pacsless.stack.scrape import scaled_workers
from pacsless.stack.settings import LOOPBACK, StackSettings
from pacsless.stack.supervision import PartState, Supervisor

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Status:
    """What `pacsless status` tells; None stands for what could not be found out."""

    home: str
    parts: list[PartState]
    lag: dict[str, dict[str, int]] | None = None
    """Function, topic: events not handled yet."""
    dead_letters: dict[str, int] | None = None
    """Topic: events nobody could handle; topics without any are left out."""
    workers: dict[str, int] | None = None
    """Function to workers, of those whose trigger runs them (``PACSLESS_SCALE``)."""
    outbox: dict[str, float] | None = None
    """``depth``: records the gateway still owes Kafka; ``oldest_seconds``."""
    addresses: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What is not as it should be; empty if all is well."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def addresses(settings: StackSettings) -> dict[str, str]:
    """Where a user finds what."""
    ports = settings.ports
    built = (configuration.VIEWER / "index.html").exists()
    return {
        "Viewer": f"{settings.url}/" if built else "not built (make setup)",
        "DICOMweb": f"{settings.url}/dicom-web",
        "DICOM": f"{LOOPBACK}:{ports.scp_gateway}, AE title PACSLESS",
        "Gateway": f"http://{LOOPBACK}:{ports.scp_gateway_admin}/metrics",
        "SQL": f"mysql -h {LOOPBACK} -P {ports.warehouse_mysql} -u root pacsless",
        "Kafka": f"{LOOPBACK}:{ports.kafka}",
        "PostgreSQL": f"{LOOPBACK}:{ports.postgres}",
        "Redis": f"{LOOPBACK}:{ports.redis}",
        "Data": str(settings.home),
    }


def status(settings: StackSettings) -> Status:
    """Ask every part that knows something."""
    supervisor = Supervisor(settings)
    found = Status(
        home=str(settings.home), parts=supervisor.states(), addresses=addresses(settings)
    )
    if not found.parts:
        found.problems.append(f"no stack is up in {settings.home}")
        return found
    found.problems += [f"{one.name} is {one.state}" for one in found.parts if not one.running]
    # In the direction events go: one that leaves the outbox meanwhile is seen in the lag.
    found.outbox = _asked(found, lambda: _outbox(settings))
    found.lag = _asked(found, lambda: _lag(settings))
    found.workers = _asked(found, lambda: _workers(settings, found.parts))
    found.dead_letters = _asked(found, lambda: _dead_letters(settings))
    return found


def _asked(found: Status, question: Callable[[], T]) -> T | None:
    try:
        return question()
    except PacslessError as error:
        if error.message not in found.problems:
            found.problems.append(error.message)
        return None


def _lag(settings: StackSettings) -> dict[str, dict[str, int]]:
    from pacsless.bus import function_lag

    subscriptions = {
        name: spec.topics for name, spec in load_functions().items() if spec.kind == "event"
    }
    return function_lag(settings.client(), subscriptions)


def _workers(settings: StackSettings, parts: list[PartState]) -> dict[str, int]:
    own = {part.name for part in parts}
    scaled = [
        name for name, spec in load_functions().items() if spec.kind == "event" and name not in own
    ]
    return {name: scaled_workers(name, settings.ports) for name in scaled}


def _dead_letters(settings: StackSettings) -> dict[str, int]:
    from pacsless.bus import dead_letter_counts

    return {topic: count for topic, count in dead_letter_counts(settings.client()).items() if count}


def _outbox(settings: StackSettings) -> dict[str, float]:
    from pacsless.outbox import outbox_depth

    depth = outbox_depth(settings.spool)
    return {"depth": depth.entries, "oldest_seconds": round(depth.oldest_seconds, 1)}

"""The functions there are, as each declares itself in its pyproject.toml.

::

    [tool.pacsless]
    kind = "event"                    # or "http", "timer", "authorization"
    handles = ["org.pacsless.instance.stored.v1"]
    emits = ["org.pacsless.instance.indexed.v1"]
    reads = "originals"               # for the table of functions
    writes = "PostgreSQL"
    uses = ["archive", "kafka", "postgres"]   # what the chart connects it to; see `Use`

    schedule = "*/10 * * * *"         # kind "timer" only; see `pacsless.schedule`
    server = "gunicorn"               # kind "http", if granian will not do; see `Server`
    threads = 64                      # requests at a time in a process, unless the server's will do

    [tool.pacsless.trigger]           # kind "event" only; see `pacsless.policy`
    max_events = 100

    [tool.pacsless.scale]             # likewise
    lag_threshold = 100
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pacsless.errors import PacslessError
from pacsless.events import EVENTS
from pacsless.policy import Policies, load_overrides, policies
from pacsless.schedule import Schedule

Kind = Literal["event", "http", "timer", "authorization"]

Server = Literal["granian", "gunicorn"]
"""Who reads a function's requests (`pacsless.serve`).

granian for those of clients; gunicorn, which functions-framework starts, for events and timers
and for what needs the connection itself.
"""

Use = Literal[
    "archive", "archive-read", "spool", "kafka", "postgres", "redis", "doris", "pseudonyms"
]
"""What a function can be connected to: it gets the addresses, secrets and volumes of these alone.

The archive to read and write, or to read; the spool, where the outbox is; Kafka, its trigger's
included; the key of pseudonyms.
"""

TIMEOUT_HEADER: Final = "X-Pacsless-Timeout"
"""Header of a request to a function: how many seconds the sender waits for the answer."""

FUNCTIONS_FOLDER: Final = Path(__file__).resolve().parents[1] / "functions"
"""The functions of this clone or image."""


class InvalidDeclaration(PacslessError):
    """A function's pyproject.toml declares what cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """A function's declaration."""

    name: str
    """Folder, handler and target."""
    summary: str
    """The project's description."""
    kind: Kind
    handles: tuple[str, ...]
    """Event types it takes."""
    emits: tuple[str, ...]
    """Event types it sends."""
    reads: str
    writes: str
    policies: Policies | None
    """How it is fed and scaled; None unless it is of kind ``event``."""
    uses: tuple[Use, ...] = ()
    """What it is connected to."""
    schedule: Schedule | None = None
    """None unless it is of kind ``timer``."""
    server: Server = "gunicorn"
    threads: int = 0
    """Requests at a time in a process; 0 for what the server takes."""

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics of the events it takes."""
        return _topics(self.handles)

    @property
    def emitted_topics(self) -> tuple[str, ...]:
        """Topics of the events it sends."""
        return _topics(self.emits)


def _topics(types: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(EVENTS[one].TOPIC for one in types))


def load_functions(
    root: Path = FUNCTIONS_FOLDER, overrides: Path | None = None
) -> dict[str, FunctionSpec]:
    """Read every function's declaration.

    Parameters
    ----------
    root
        Folder with one folder per function.
    overrides
        File of an operator's policies (`pacsless.policy`), if there is one.

    Returns
    -------
    dict
        Name to declaration, sorted by name.

    Raises
    ------
    InvalidDeclaration
        If one is not as the module describes.
    InvalidPolicy
        If a policy is not.
    """
    documents = {
        file.parent.name: tomllib.loads(file.read_text())
        for file in sorted(root.glob("*/pyproject.toml"))
    }
    fed = [name for name, one in documents.items() if _declared(one).get("kind") == "event"]
    wanted = load_overrides(overrides, fed) if overrides else {}
    return {name: _read(name, one, wanted.get(name, {})) for name, one in documents.items()}


def load_function(folder: Path) -> FunctionSpec:
    """Read one function's declaration.

    Parameters
    ----------
    folder
        The function's.

    Raises
    ------
    InvalidDeclaration
        If there is none, or it is not as the module describes.
    """
    try:
        document = tomllib.loads((folder / "pyproject.toml").read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidDeclaration("declaration", f"{folder}/pyproject.toml: {error}") from error
    return _read(folder.name, document, {})


def _declared(document: dict[str, Any]) -> dict[str, Any]:
    return dict(document.get("tool", {}).get("pacsless", {}))


def _read(name: str, document: dict[str, Any], wanted: Mapping[str, Any]) -> FunctionSpec:
    try:
        project, declared = document["project"], _declared(document)
        kind = declared["kind"]
        handles, emits = (tuple(declared.get(key, ())) for key in ("handles", "emits"))
        unknown = [one for one in (*handles, *emits) if one not in EVENTS]
        if project["name"].replace("-", "_") != name:
            raise InvalidDeclaration("name", f"{name}: the project must be named like its folder")
        if unknown or kind not in get_args(Kind) or (kind == "event") != bool(handles):
            raise InvalidDeclaration(
                "declaration", f"{name}: an unknown kind or type, or no handles for kind event"
            )
        uses = tuple(declared.get("uses", ()))
        if set(uses) - set(get_args(Use)) or len(set(uses)) < len(uses):
            there = ", ".join(get_args(Use))
            raise InvalidDeclaration("declaration", f"{name}: uses holds each once of {there}")
        if (kind == "timer") != ("schedule" in declared):
            raise InvalidDeclaration(
                "declaration", f"{name}: a schedule is what kind timer has, and no other kind"
            )
        return FunctionSpec(
            name=name,
            summary=project["description"],
            kind=kind,
            handles=handles,
            emits=emits,
            reads=declared.get("reads", ""),
            writes=declared.get("writes", ""),
            uses=uses,
            policies=policies(name, _topics(handles), declared, wanted)
            if kind == "event"
            else None,
            schedule=Schedule.parse(declared["schedule"]) if kind == "timer" else None,
            server=_server(name, kind, declared.get("server")),
            threads=int(declared.get("threads", 0)),
        )
    except KeyError as error:
        raise InvalidDeclaration("declaration", f"{name}: pyproject.toml lacks {error}") from None


def _server(name: str, kind: Kind, declared: str | None) -> Server:
    if kind not in ("http", "authorization"):
        if declared is not None:
            raise InvalidDeclaration("declaration", f"{name}: kind {kind} chooses no server")
        return "gunicorn"
    match declared:
        case None | "granian":
            return "granian"
        case "gunicorn":
            return "gunicorn"
        case _:
            there = ", ".join(get_args(Server))
            raise InvalidDeclaration("declaration", f"{name}: server is one of {there}")

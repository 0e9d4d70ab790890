"""The stack with one rule of the event runtime broken: the harness must notice.

Python imports this module before anything else if its folder is first in
``PYTHONPATH``. ``PACSLESS_FAULTS_WITHOUT`` names the rule; in the parts it
concerns, if what is to be replaced is not there the process ends at once:

- ``commit``: triggers commit a batch before the function has answered;
- ``error``: extract_tags takes an error for success;
- ``series``: build_metadata leaves a series out of the study's document;
- ``label``: load_doris names all loads of a table alike;
- ``tenant``: qido_rs answers everybody as the default tenant;
- ``clock``: load_doris writes the time of the load into a row.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def _commit() -> None:
    module, name = _there("pacsless.trigger.runner", "Runner", "_do")

    @_or_end
    def do(self: Any, lane: Any, action: Any) -> None:
        _reached()
        outcomes = self._outcomes
        done = importlib.import_module("pacsless.trigger.dispatch").Outcome(
            importlib.import_module("pacsless.trigger.actions").Fate.DONE, ""
        )
        outcomes.put((lane, action, done))
        if hasattr(action, "items"):
            self._target.send(action.items)
        else:
            self._dead_letters.bury(action)

    setattr(module, name, do)


def _error() -> None:
    module, name = _there("functions.extract_tags.index", "", "index")
    index = getattr(module, name)
    failure = importlib.import_module("pacsless.errors").PacslessError

    def careless(*arguments: Any) -> Any:
        try:
            return index(*arguments)
        except failure:
            _reached()
            return []

    setattr(module, name, careless)


def _series() -> None:
    module, name = _there("functions.build_metadata.build", "", "_series_documents")
    documents = getattr(module, name)

    def fewer(*arguments: Any) -> Any:
        _reached()
        return documents(*arguments)[:-1]

    setattr(module, name, fewer)


def _label() -> None:
    module, name = _there("functions.load_doris.rows", "", "label")

    def alike(table: str, sources: Any) -> str:
        _reached()
        return table

    setattr(module, name, alike)


def _tenant() -> None:
    module, name = _there("functions.qido_rs.search", "", "search")
    search = getattr(module, name)

    def everybody(query: Any, tenant: str, *arguments: Any, **named: Any) -> Any:
        _reached()
        return search(query, "default", *arguments, **named)

    setattr(module, name, everybody)


def _clock() -> None:
    module, name = _there("functions.load_doris.rows", "", "_image")
    image = getattr(module, name)

    def timed(event: Any) -> Any:
        _reached()
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        return image(event) | {"received_at": now}

    setattr(module, name, timed)


def _or_end(mutant: Any) -> Any:
    """End the process if the mutant itself is broken: a pool would swallow its error."""

    def guarded(*arguments: Any) -> Any:
        try:
            return mutant(*arguments)
        except Exception:  # noqa: BLE001  # whatever it is, it is no proof
            traceback.print_exc()
            os._exit(70)

    return guarded


def _there(module: str, owner: str, name: str) -> tuple[Any, str]:
    found = importlib.import_module(module)
    holder = getattr(found, owner) if owner else found
    if not callable(getattr(holder, name)):
        raise AttributeError(f"{module}.{owner}.{name} cannot be replaced")
    return holder, name


def _reached() -> None:
    Path(os.environ["PACSLESS_FAULTS_PROOF"], str(os.getpid())).touch()


RULES = {
    "commit": ("trigger", _commit),
    "error": ("extract_tags", _error),
    "series": ("build_metadata", _series),
    "label": ("load_doris", _label),
    "tenant": ("qido_rs", _tenant),
    "clock": ("load_doris", _clock),
}


def _part() -> str:
    return "trigger" if "trigger" in sys.orig_argv else os.environ.get("FUNCTION_TARGET", "")


try:
    part, mutate = RULES[os.environ["PACSLESS_FAULTS_WITHOUT"]]
    if part == _part():
        mutate()
except BaseException:  # noqa: BLE001  # Python would go on without it
    traceback.print_exc()
    print("the mutation cannot be made; see above", file=sys.stderr, flush=True)
    os._exit(70)

"""The two documents of this clone's functions."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Final

from pacsless.capabilities import OF_NGINX, Operation, operations
from pacsless.capabilities.openapi import openapi
from pacsless.capabilities.wadl import wadl
from pacsless.functions import load_functions

_NGINX: Final = "This description of the service."


def described() -> list[Operation]:
    """Return every operation of the service.

    The functions' tables are found by their declarations, as the local stack finds
    the functions: nothing here imports one of them by name.
    """
    found = [
        one
        for name in _answering()
        for one in operations(name, import_module(f"functions.{name}.routes").ROUTES)
    ]
    return [*found, *OF_NGINX]


def documents() -> dict[str, str]:
    """Return the documents by their files' names."""
    found = described()
    tags = {**_answering(), "nginx": _NGINX}
    return {
        "openapi.json": json.dumps(openapi(found, tags), indent=1, ensure_ascii=False) + "\n",
        "capabilities.wadl": wadl(found),
    }


def _answering() -> dict[str, str]:
    """Functions that clients call, and what they are."""
    return {name: one.summary for name, one in load_functions().items() if one.kind == "http"}

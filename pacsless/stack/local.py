"""Which archive a command of the CLI is about."""

from __future__ import annotations

import os

from pacsless.settings import Settings


def own_or_local(name: str) -> Settings:
    """Return this process's settings if it has one of that name, else those of the local stack.

    Raises
    ------
    InvalidSetting
        If a value makes no sense.
    """
    if name in os.environ:
        return Settings.from_environ()
    # Reads every function's declaration, which nobody else needs.
    from pacsless.stack.settings import StackSettings

    return StackSettings.from_environ().client()

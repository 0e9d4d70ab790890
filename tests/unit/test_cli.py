"""The command as a person meets it."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from pacsless.cli import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["up"], "make up goes on"),
        (["rebuild", "--tenant", "default"], "the same command goes on from there"),
        (["burst"], "What was acknowledged is stored"),
        (["status"], "Interrupted."),
    ],
)
def test_an_interruption_says_what_stays(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    command = main.get_command(click.Context(main), arguments[0])
    assert command is not None
    monkeypatch.setattr(command, "callback", interrupted)
    found = CliRunner().invoke(main, arguments)
    assert (found.exit_code, found.stdout) == (130, "")
    assert told in found.stderr

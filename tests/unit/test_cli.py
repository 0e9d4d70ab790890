"""The command as a person meets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pacsless.cli import main
from pacsless.send import Summary


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


def test_send_asks_for_no_stack_if_it_is_told_a_port(tmp_path: Path) -> None:
    # What Kubernetes sets for a Service called pacsless.
    environ = {"PACSLESS_PORT_80_TCP": "tcp://10.0.0.1:80"}
    runner = CliRunner(env=environ)
    found = runner.invoke(main, ["send", "--port", "104", str(tmp_path)])
    assert "Nothing was sent" in found.stdout
    found = runner.invoke(main, ["send", str(tmp_path)])
    assert "PACSLESS_PORT_80_TCP names no part" in found.stderr


def test_send_goes_to_the_stack_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "pacsless.send.command.send_paths",
        lambda paths, options, *_: seen.append(options.port) or Summary(),
    )
    CliRunner(env={"PACSLESS_PORT_BASE": "20000"}).invoke(main, ["send", str(tmp_path)])
    assert seen == [20001]

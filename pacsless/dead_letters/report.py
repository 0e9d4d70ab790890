"""What ``pacsless dlq`` prints: tables for people, one JSON object for programs."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final, Self

import click

from pacsless.bus import Message
from pacsless.dead_letters.letter import Letter
from pacsless.dead_letters.selection import Summary

_GROUP_COLUMNS: Final = ("topic", "function", "code", "letters", "oldest", "newest")


class Bar(ExitStack):
    """A progress bar on stderr, where somebody looks at it.

    Parameters
    ----------
    label
        What is done.
    total
        How many letters there are.
    shown
        False for none.
    """

    def __init__(self, label: str, total: int, *, shown: bool) -> None:
        super().__init__()
        self._label, self._total = label, total
        self._shown = shown and total > 0 and sys.stderr.isatty()
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self._shown:
            bar = click.progressbar(length=self._total, label=self._label, file=sys.stderr)
            self._bar = self.enter_context(bar)
        return self

    def advance(self, count: int) -> None:
        """Say that so many more are done."""
        if self._bar is not None:
            self._bar.update(count)

    def over(self, letters: Iterable[Letter]) -> Iterator[Letter]:
        """Advance by one with each."""
        for one in letters:
            yield one
            self.advance(1)


def counted(count: int) -> str:
    """Say how many letters: ``1 dead letter``."""
    return f"{count} dead letter{'' if count == 1 else 's'}"


def print_json(count: int, rows: Sequence[dict[str, Any]], **more: Any) -> None:
    """Print what was found as one JSON object."""
    click.echo(json.dumps({"count": count, **more, "dead_letters": rows}, indent=1))


def print_summary(summary: Summary, *, as_json: bool, **more: Any) -> None:
    """Print a line for each group, or one JSON object that holds `more`, too."""
    rows = [one.as_dict() for one in summary.groups]
    if as_json:
        print_json(summary.count, rows, **more)
        return
    print_table([dict(zip(_GROUP_COLUMNS, row.values(), strict=True)) for row in rows])


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows under their names."""
    if not rows:
        click.echo("No such dead letter waits.")
        return
    cells = [list(rows[0]), *([str(value) or "-" for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        told = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        click.echo("  ".join(told).rstrip())


def print_letters(rows: Sequence[dict[str, Any]]) -> None:
    """Print a line for each letter, whose place names its topic."""
    print_table([{name: row[name] for name in row if name != "topic"} for row in rows])


def print_letter(told: dict[str, Any]) -> None:
    """Print what one letter says; most of it is in its headers."""
    wanted = ("letter", "tenant", "bytes", "key", "data", "data_base64")
    for name in (one for one in wanted if one in told):
        value = told[name]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        click.echo(f"{name:<16}{printable(text) or '-'}")
    for name, value in told["headers"].items():
        click.echo(f"{printable(name):<16}{printable(value)}")


def contents(message: Message) -> dict[str, Any]:
    """Everything a record holds; it may be patient data.

    The data is ``data``, or ``data_base64`` if it is not JSON, as in CloudEvents'
    JSON format (JSON Event Format §3.1).
    """
    value = message.value or b""
    try:
        data: dict[str, Any] = {"data": json.loads(value.decode())}
    except (ValueError, RecursionError):
        data = {"data_base64": base64.b64encode(value).decode()}
    key = (message.key or b"").decode("utf-8", "backslashreplace")
    headers = {name: raw.decode("utf-8", "backslashreplace") for name, raw in message.headers}
    return {"key": key, **data, "headers": headers}


def printable(text: str) -> str:
    """Escape what a terminal would act on."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)

"""The ``dlq`` commands of the CLI."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from pacsless import bus
from pacsless.bus import Message, Partition, Reference, Waiting
from pacsless.dead_letters.letter import Letter
from pacsless.dead_letters.report import (
    Bar,
    contents,
    counted,
    print_json,
    print_letter,
    print_letters,
    print_summary,
)
from pacsless.dead_letters.selection import Selection, Summary, parse_letter, parse_time
from pacsless.dead_letters.settling import Outcome, letters, settle
from pacsless.errors import Busy, NotFound, Unavailable
from pacsless.events import TOPICS
from pacsless.settings import Settings
from pacsless.stack.local import own_or_local

F = TypeVar("F", bound=Callable[..., Any])

_FORMS: Final = "2026-11-28T08:00, UTC unless it says otherwise, or how long ago: 90m, 12h, 2d"


def _letter(text: str) -> Reference:
    try:
        return parse_letter(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no dead letter's place: write TOPIC:PARTITION:OFFSET, as "
            "'pacsless dlq list --each' does"
        ) from None


def _time(text: str) -> datetime:
    try:
        return parse_time(text, datetime.now(UTC))
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is no time: write {_FORMS}") from None


_FILTERS: Final = (
    click.argument("letter", nargs=-1, type=_letter, metavar="[TOPIC:PARTITION:OFFSET]..."),
    click.option("--topic", multiple=True, type=click.Choice(TOPICS), metavar="TOPIC",
                 help="Of the event."),
    click.option("--code", multiple=True, help="Why it is a dead letter."),
    click.option("--function", multiple=True, help="That could not handle it."),
    click.option("--tenant", multiple=True, help="Whose event it is."),
    click.option("--since", type=_time, metavar="TIME", help=f"Not older: {_FORMS}."),
    click.option("--until", type=_time, metavar="TIME", help="Older than this."),
)  # fmt: skip
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_DRY_RUN: Final = click.option("--dry-run", is_flag=True, help="Only show which those are.")
_ALL: Final = click.option("--all", "every", is_flag=True, help="All there are; no filter.")


def _filters(command: F) -> F:
    for one in reversed(_FILTERS):
        command = one(command)
    return command


@click.group()
def dlq() -> None:
    """Events no function could handle: list, show, redrive or drop them.

    Filters are what a letter must meet, all of them; one that is given several
    times is met by any of its values.
    """


@dlq.command("list")
@_filters
@click.option("--each", is_flag=True, help="A line for each.")
@_JSON
def list_(*, each: bool, as_json: bool, **filters: Any) -> None:
    """Count the dead letters that wait, by topic, function and code.

    Nothing of an event's data is shown.
    """
    selection, settings = _selection(filters), own_or_local("PACSLESS_KAFKA")
    there = bus.waiting(settings, selection.read_from)
    summary, lines = Summary(), []
    for letter in _read(settings, there, selection, quiet=as_json):
        summary.add([letter])
        if each:
            lines.append(letter.as_dict())
    if not each:
        print_summary(summary, as_json=as_json)
    elif as_json:
        print_json(summary.count, lines)
    else:
        print_letters(lines)


@dlq.command()
@click.argument("letter", type=_letter, metavar="TOPIC:PARTITION:OFFSET")
@click.option("--with-data", is_flag=True,
              help="Show the event's data, key and all headers: MAY BE PATIENT DATA.")  # fmt: skip
@_JSON
def show(letter: Reference, *, with_data: bool, as_json: bool) -> None:
    """Show what one dead letter says, without the event's data."""
    settings = own_or_local("PACSLESS_KAFKA")
    there = bus.waiting(settings, Selection(letters=frozenset({letter})).read_from)
    found: Message | None = None
    if letter.offset in there.get(letter.partition, ()):
        span = {letter.partition: range(letter.offset, letter.offset + 1)}
        found = next(bus.read(settings, span), None)
    if found is None:
        raise NotFound("letter", f"{letter} waits no more, or never did: see pacsless dlq list")
    one = Letter(found)
    told = one.as_dict() | {"bytes": len(found.value or b""), "headers": one.shown}
    if with_data:
        told |= contents(found)
    if as_json:
        click.echo(json.dumps(told, indent=1))
        return
    print_letter(told)
    if not with_data:
        click.echo("\nThe event's data is not shown: --with-data does; it may be patient data.")


@dlq.command()
@_filters
@_ALL
@_DRY_RUN
@_JSON
def redrive(*, every: bool, dry_run: bool, as_json: bool, **filters: Any) -> None:
    """Send the events of dead letters to their topics again.

    Every function that reads the topic gets them, which changes nothing for one
    that had them. An event that fails again makes a new dead letter. Doing it
    twice, or again after it was interrupted, is safe.
    """
    selection, settings = _chosen(filters, every), own_or_local("PACSLESS_KAFKA")
    there = bus.waiting(settings, selection.read_from)
    if dry_run:
        chosen = _count(settings, there, selection, quiet=as_json)
        print_summary(chosen, as_json=as_json, outcome="none")
    else:
        _settle(settings, there, selection, Outcome.REDRIVEN, quiet=as_json)


@dlq.command()
@_filters
@_ALL
@_DRY_RUN
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
def drop(*, every: bool, dry_run: bool, yes: bool, as_json: bool, **filters: Any) -> None:
    """Give dead letters up: nothing will handle their events.

    The files they are about stay in the archive.
    """
    selection = _chosen(filters, every)
    if as_json and not (yes or dry_run):
        raise click.UsageError("with --json nobody is asked: give --yes or --dry-run, too")
    settings = own_or_local("PACSLESS_KAFKA")
    there = bus.waiting(settings, selection.read_from)
    if dry_run or not yes:
        chosen = _count(settings, there, selection, quiet=as_json)
        print_summary(chosen, as_json=as_json, outcome="none")
        if dry_run or not chosen.count:
            return
        click.confirm(f"Drop {counted(chosen.count)} for good?", abort=True, err=True)
    _settle(settings, there, selection, Outcome.DROPPED, quiet=as_json, tabulate=yes)


def _selection(filters: dict[str, Any]) -> Selection:
    return Selection(
        since=filters.pop("since"),
        until=filters.pop("until"),
        **{f"{name}s": frozenset(values) for name, values in filters.items()},
    )


def _chosen(filters: dict[str, Any], every: bool) -> Selection:
    selection = _selection(filters)
    if bool(selection) == every:
        raise click.UsageError("say which: letters or filters, or else --all")
    return selection


def _read(
    settings: Settings, there: Mapping[Partition, Waiting], selection: Selection, *, quiet: bool
) -> Iterator[Letter]:
    with Bar("Reading", sum(map(len, there.values())), shown=not quiet) as bar:
        yield from (one for one in bar.over(letters(settings, there)) if one in selection)


def _count(
    settings: Settings, there: Mapping[Partition, Waiting], selection: Selection, *, quiet: bool
) -> Summary:
    found = Summary()
    found.add(_read(settings, there, selection, quiet=quiet))
    return found


def _settle(
    settings: Settings,
    there: Mapping[Partition, Waiting],
    selection: Selection,
    outcome: Outcome,
    *,
    quiet: bool,
    tabulate: bool = True,
) -> None:
    done = Summary()
    try:
        with Bar("Settling", sum(map(len, there.values())), shown=not quiet) as bar:

            def settled(some: list[Letter], read: int) -> None:
                done.add(some)
                bar.advance(read)

            settle(settings, selection, outcome, there, settled)
    except Busy as error:
        raise Busy(error.code, f"{_so_far(done, outcome)}{error.message}; do it again") from None
    except Unavailable as error:
        raise Unavailable(error.code, f"{_so_far(done, outcome)}{error.message}") from None
    if quiet or tabulate or not done.count:
        print_summary(done, as_json=quiet, outcome=outcome.value)
    if done.count and not quiet:
        click.echo(f"{counted(done.count)} {outcome}.")


def _so_far(done: Summary, outcome: Outcome) -> str:
    return f"{counted(done.count)} {outcome}, then: " if done.count else ""

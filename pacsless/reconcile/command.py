"""The commands ``rebuild`` and ``reconcile`` of the CLI."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator

import click

from pacsless.errors import PacslessError
from pacsless.identity import valid_tenant
from pacsless.reconcile.position import alone
from pacsless.reconcile.progress import Progress
from pacsless.reconcile.rebuild import PARTS, Rebuilt, parts_of
from pacsless.reconcile.reconcile import SETTLE_SECONDS, tenants
from pacsless.reconcile.report import Report
from pacsless.reconcile.scrub import share_of
from pacsless.reconcile.task import Sweeper
from pacsless.stack.local import own_or_local

_CANNOT_LOOK = 2


@click.command()
@click.option("--tenant", "tenant_id", required=True, help="Whose files.")
@click.option("--into", default=",".join(PARTS), show_default=True, help="What to fill.")
@click.option("--restart", is_flag=True, help="Begin anew, where an earlier run stopped half-way.")
@click.option("--no-wait", is_flag=True, help="Return when all is announced, not when it is done.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rebuild(tenant_id: str, into: str, *, restart: bool, no_wait: bool, as_json: bool) -> None:
    """Fill index, metadata and warehouse from the files alone.

    Every file is announced again, and the functions do what they did when it
    came; what is there already stays as it is. An interrupted run goes on
    where it stopped. The exit code is 0 if every file could be announced.
    """
    with _sweeper() as sweeper:
        valid_tenant(tenant_id)
        parts = parts_of(into)
        progress = Progress(sys.stderr)
        sweeper.backlog.say = _waits(progress)
        with alone(sweeper.places.database, tenant_id):
            done = sweeper.rebuild.run(
                tenant_id, parts, restart=restart,
                say=lambda so_far: progress.say(
                    so_far.done, so_far.studies, "studies", so_far.instances
                ),
            )  # fmt: skip
        if not no_wait:
            sweeper.backlog.drain()
        progress.end()
    if as_json:
        click.echo(json.dumps({"tenant": tenant_id, "into": list(parts)} | done.as_dict()))
    else:
        _print_rebuilt(done, waited=not no_wait)
    sys.exit(1 if done.unreadable_count or done.altered_count else 0)


def _waits(progress: Progress) -> Callable[[int], None]:
    return lambda waiting: progress.tell(f"{waiting} events wait for the functions")


def _print_rebuilt(done: Rebuilt, *, waited: bool) -> None:
    end = "and the functions have handled all of it" if waited else "the functions go on"
    click.echo(f"{done.instances} events of {done.studies} studies are announced, {end}.")
    for count, what, keys in (
        (done.unreadable_count, "cannot be read, or do not say what they are", done.unreadable),
        (done.altered_count, "are not what was received; restore them", done.altered),
    ):
        if count:
            click.echo(f"{count} files {what}:", err=True)
        for key in keys:
            click.echo(f"  {key}", err=True)


@click.command()
@click.option("--tenant", "tenant_id", help="Whose; all tenants unless given.")
@click.option("--repair", is_flag=True, help="Announce what differs, so that it is made again.")
@click.option("--scrub", default="", help="Share of the files to read again: 5%, or all.")
@click.option("--settle", default=SETTLE_SECONDS, show_default=True,
              type=click.FloatRange(0), help="Seconds a change may be on its way.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def reconcile(
    tenant_id: str | None, scrub: str, settle: float, *, repair: bool, as_json: bool
) -> None:
    """Compare files, index, metadata and warehouse.

    The exit code is 0 if they agree, or all that differs is announced; 1 if
    something is left, 2 if a tenant could not be looked at.
    """
    reports: list[Report] = []
    failed = False
    try:
        with _sweeper() as sweeper:
            share = share_of(scrub)
            names = [valid_tenant(tenant_id)] if tenant_id else tenants(sweeper.places)
            if repair:
                sweeper.raise_revision()
            for name in names:
                try:
                    reports.append(_reconciled(sweeper, name, share, settle, repair=repair))
                except PacslessError as error:
                    click.echo(f"pacsless: {name}: {error.message}", err=True)
                    failed = True
                    continue
                if not as_json:
                    _print_report(reports[-1])
    except PacslessError as error:
        click.echo(f"pacsless: {error.message}", err=True)
        failed = True
    if as_json:
        click.echo(json.dumps([one.as_dict() for one in reports]))
    if failed:
        sys.exit(_CANNOT_LOOK)
    sys.exit(1 if any(one.left for one in reports) else 0)


def _reconciled(
    sweeper: Sweeper, tenant_id: str, share: float, settle: float, *, repair: bool
) -> Report:
    progress = Progress(sys.stderr)
    sweeper.backlog.say = _waits(progress)
    try:
        with alone(sweeper.places.database, tenant_id):
            task = sweeper.reconcile(repair=repair, settle=settle)
            return task.run(
                tenant_id, share=share, restart=True,
                say=lambda so_far, every: progress.say(
                    so_far.studies, every, f"studies of {tenant_id}", so_far.scrubbed
                ),
            )  # fmt: skip
    finally:
        progress.end()


def _print_report(report: Report) -> None:
    scrubbed = f", {report.scrubbed} files read again" if report.scrubbed else ""
    click.echo(f"{report.tenant}: {report.studies} studies{scrubbed}")
    if not report.drift:
        click.echo("  no drift")
        return
    click.echo(f"  {'drift':<20}{'found':>8}{'repaired':>10}  for example")
    for kind, found in sorted(report.drift.items()):
        example = next(iter(found.examples), "")
        click.echo(f"  {kind:<20}{found.count:>8}{found.mended:>10}  {example}")


@contextlib.contextmanager
def _sweeper() -> Iterator[Sweeper]:
    """Everything of this process's settings, or of the local stack if it has none."""
    sweeper = Sweeper.from_settings(own_or_local("PACSLESS_POSTGRES"), patience=math.inf)
    try:
        yield sweeper
    finally:
        sweeper.close()

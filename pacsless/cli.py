"""The command ``pacsless``: ``.venv/bin/python -m pacsless`` in a clone.

Each command imports what it needs when it runs, so that the parts of a stack,
which are commands too, start fast.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pacsless import __version__
from pacsless.errors import PacslessError

if TYPE_CHECKING:
    from pacsless.stack.settings import StackSettings
    from pacsless.stack.status import Status

_ELSEWHERE: Final = {
    "burst": "pacsless.burst.command:burst",
    "check": "pacsless.check.command:check",
    "conflicts": "pacsless.conflicts:conflicts",
    "dlq": "pacsless.dead_letters.command:dlq",
    "rebuild": "pacsless.reconcile.command:rebuild",
    "reconcile": "pacsless.reconcile.command:reconcile",
    "send": "pacsless.send.command:send",
    "tables": "pacsless.tables:tables",
    "trigger": "pacsless.trigger.command:trigger",
    "wait-for": "pacsless.wait_for:wait_for",
}
_INTERRUPTED: Final = {
    "up": "What has started stays: make up goes on, make down stops it.",
    "send": "What was acknowledged is stored; sending it again does no harm.",
    "burst": "What was acknowledged is stored, and the functions go on with it.",
    "rebuild": "The functions go on with what is announced; the same command goes on from there.",
    "reconcile": "The functions go on with what is announced; the same command looks again.",
    "dlq": "What was settled stays so; the same command settles the rest.",
}
"""What a person who pressed Ctrl-C needs to know."""
_PORT: Final = click.IntRange(1, 65535)
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


class _Commands(click.Group):
    """Commands of this module and those that live with what they do."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _ELSEWHERE:
            module, _, name = _ELSEWHERE[cmd_name].partition(":")
            command: click.Command = getattr(importlib.import_module(module), name)
            return command
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PacslessError as error:
            click.echo(f"pacsless: {error.message}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            told = _INTERRUPTED.get(ctx.invoked_subcommand or "", "")
            click.echo(f"\nInterrupted. {told}".rstrip(), err=True)
            ctx.exit(128 + signal.SIGINT)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Pacsless, a DICOM archive made of functions."""
    if ctx.invoked_subcommand == "send":
        # Asked for only without --port: on Kubernetes there is no stack, and a Service
        # may fill PACSLESS_PORT_... with what is no port.
        ctx.default_map = {"send": {"port": lambda: _stack().ports.scp_gateway}}


def _stack() -> StackSettings:
    from pacsless.stack.settings import StackSettings

    return StackSettings.from_environ()


@main.command()
def up() -> None:
    """Start the local stack and return when everything is ready."""
    import time

    from pacsless.stack import lifecycle
    from pacsless.stack.status import addresses

    settings = _stack()
    click.echo(f"Starting Pacsless in {settings.home}")
    began = time.monotonic()
    lifecycle.up(settings, lambda name, at: click.echo(f"  {name:<24}ready {at:6.1f} s"))
    click.echo(f"\nReady in {time.monotonic() - began:.1f} s.\n")
    for name, address in addresses(settings).items():
        click.echo(f"  {name:<12}{address}")
    click.echo("\nNext: make demo sends real images; make status, make logs, make down.")


@main.command()
@click.option("--wipe", is_flag=True, help="Remove the stack's data, too.")
def down(*, wipe: bool) -> None:
    """Stop the local stack; its data stays unless --wipe."""
    from pacsless.stack import lifecycle

    settings = _stack()
    was_up = lifecycle.down(settings, wipe=wipe)
    click.echo(f"{'Stopped' if was_up else 'Nothing was running in'} {settings.home}.")
    if wipe:
        click.echo("Its data is removed.")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(*, as_json: bool) -> None:
    """Show parts, lag, dead letters and outbox; exit 1 if something is not running."""
    from pacsless.stack.status import status as ask

    found = ask(_stack())
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=1))
    else:
        _print_status(found)
    if found.problems:
        raise SystemExit(1)


def _print_status(found: Status) -> None:
    if found.parts:
        click.echo(f"{'part':<24}{'state':<12}{'pid':>8}{'uptime':>12}")
    for part in found.parts:
        pid = str(part.pid or "")
        click.echo(f"{part.name:<24}{part.state:<12}{pid:>8}{_duration(part.uptime):>12}")
    if found.lag is not None:
        click.echo(f"\n{'function':<24}{'topic':<24}{'lag':>8}")
        for function, topics in found.lag.items():
            for topic, lag in topics.items():
                click.echo(f"{function:<24}{topic:<24}{lag:>8}")
    if found.workers:
        told = ", ".join(f"{function} {count}" for function, count in found.workers.items())
        click.echo(f"\nworkers                 {told}")
    if found.outbox is not None:
        click.echo(f"\noutbox                  {found.outbox['depth']} waiting")
    if found.dead_letters is not None:
        told = ", ".join(f"{topic} {count}" for topic, count in found.dead_letters.items())
        click.echo(f"dead letters            {told or 'none'}")
    if found.parts:
        click.echo("")
        for name, address in found.addresses.items():
            click.echo(f"{name:<24}{address}")
    for problem in found.problems:
        click.echo(f"pacsless: {problem}", err=True)


def _duration(seconds: float) -> str:
    if not seconds:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


@main.command()
@click.argument("part", required=False)
@click.option("-f", "--follow", is_flag=True, help="Wait for more.")
@click.option("-n", "--lines", default=20, show_default=True, help="Of each log.")
def logs(part: str | None, *, follow: bool, lines: int) -> None:
    """Show the log of a part, or of all."""
    folder = _stack().logs
    known = sorted(log.stem for log in folder.glob("*.log"))
    if part is not None and part not in known:
        there = ", ".join(known) or "none: run make up"
        raise click.ClickException(f"there is no log of {part}; there are {there}")
    files = [str(folder / f"{name}.log") for name in ([part] if part else known)]
    if not files:
        raise click.ClickException(f"there is no log in {folder}: run make up")
    arguments = ["tail", "-n", str(lines), *(["-F"] if follow else []), *files]
    os.execvp("tail", arguments)  # noqa: S606


@main.command()
def demo() -> None:
    """Send real images to the local stack and show what became of them."""
    from pacsless.stack.demo import run

    run(_stack())


@main.command()
@click.option("--target", "targets", multiple=True, help="function=URL.")
@click.option("--once", metavar="NAME", help="Post to this function now, and end.")
@click.option("--url", help="Its address, with --once.")
@click.option("--timeout", default=1800.0, show_default=True,
              type=click.FloatRange(0, min_open=True),
              help="Seconds to answer, with --once.")  # fmt: skip
def timer(targets: tuple[str, ...], once: str | None, url: str | None, timeout: float) -> None:
    """Post to functions at the times they declare, or to one now.

    With --once the exit code is 0 if the function has done it, else 1.
    """
    from pacsless import log
    from pacsless.settings import Settings
    from pacsless.timer import once as tick
    from pacsless.timer import run

    if bool(targets) == bool(once) or bool(once) != bool(url):
        raise click.UsageError("give --target, or --once with --url")
    if once and url:
        click.echo(f"{once} answers {tick(once, url, timeout)}")
        return
    log.configure("timer", Settings.from_environ().log_level)
    found = dict(one.split("=", 1) for one in targets if "=" in one)
    if len(found) < len(targets):
        raise click.ClickException("--target takes function=URL, each function once")
    run(found)


@main.command()
@click.option("--data", required=True, type=_FOLDER, help="Folder of the database.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--fe-port", default=8030, show_default=True, type=_PORT, help="Stream Load, front.")
@click.option("--be-port", default=8040, show_default=True, type=_PORT, help="Stream Load, back.")
@click.option("--mysql-port", default=9030, show_default=True, type=_PORT, help="SQL.")
def warehouse(data: Path, host: str, fe_port: int, be_port: int, mysql_port: int) -> None:
    """Run the local stand-in for Apache Doris; not for production."""
    from pacsless import log
    from pacsless.settings import Settings
    from pacsless.warehouse import run

    settings = Settings.from_environ()
    log.configure("warehouse", settings.log_level)
    run(
        data,
        host=host,
        fe_port=fe_port,
        be_port=be_port,
        mysql_port=mysql_port,
        user=settings.doris_user,
        password=settings.doris_password,
    )


@main.command("access-log")
@click.option("--log", "path", required=True, type=_FILE, help="What nginx writes.")
@click.option("--position", required=True, type=_FILE, help="Where to remember how far was read.")
@click.option("--nginx-pid", required=True, type=_FILE, help="nginx's pid file.")
@click.option("--rotate-at", default=64 << 20, show_default=True, help="Bytes.")
def access_log(path: Path, position: Path, nginx_pid: Path, rotate_at: int) -> None:
    """Publish nginx's access log to access_log_queue."""
    from pacsless import log
    from pacsless.access_log import FollowedLog, run
    from pacsless.settings import Settings

    settings = Settings.from_environ()
    log.configure("access-log", settings.log_level)
    run(FollowedLog(path, position, nginx_pid, rotate_at), settings)


@main.command()
@click.option("--partitions", default=4, show_default=True, help="Of each topic.")
def topics(partitions: int) -> None:
    """Create the Kafka topics that are missing."""
    from pacsless.bus import create_topics
    from pacsless.settings import Settings

    for topic in create_topics(Settings.from_environ(), partitions):
        click.echo(topic)


@main.command()
@click.option("--folder", type=_FOLDER, help="Of the SQL files; schemas/postgres unless given.")
def migrate(folder: Path | None) -> None:
    """Bring PostgreSQL's schema up to date."""
    from pacsless.postgres import migrate as apply
    from pacsless.settings import Settings

    root = Path(__file__).resolve().parents[1]
    for name in apply(Settings.from_environ(), folder or root / "schemas" / "postgres"):
        click.echo(name)

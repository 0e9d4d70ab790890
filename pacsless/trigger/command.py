"""The ``trigger`` command of the CLI."""

from __future__ import annotations

import click

from pacsless import log
from pacsless.settings import Settings
from pacsless.trigger import run


@click.command()
@click.option("--function", required=True, help="Name of the function.")
@click.option("--target", help="Its URL.")
@click.option("--scale", is_flag=True, help="Run its workers here, as many as the lag calls for.")
@click.option("--min-workers", type=int, help="Fewest; 0 lets go of the last.")
@click.option("--max-workers", type=int, help="Most.")
@click.option("--lag-threshold", type=int, help="Events for which one worker is enough.")
@click.option("--cooldown-s", type=float, help="Seconds a worker is kept without need.")
@click.option(
    "--instance",
    default="",
    envvar="PACSLESS_TRIGGER_INSTANCE",
    help="Name of this trigger, to keep its partitions over a restart; no two may share one.",
)
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Port of Prometheus metrics.")
def trigger(
    function: str,
    target: str | None,
    instance: str,
    metrics_port: int | None,
    *,
    scale: bool,
    **sizes: float | None,
) -> None:
    """Feed a function with the events of its topics.

    It runs elsewhere and is posted to (--target), or here (--scale). What the
    options leave open is as the function declares and PACSLESS_POLICIES says.
    """
    if scale == bool(target):
        raise click.UsageError("give either --target or --scale")
    wanted = {name: value for name, value in sizes.items() if value is not None}
    if wanted and not scale:
        raise click.UsageError("the number of workers is for --scale")
    settings = Settings.from_environ()
    log.configure(f"{function}-trigger", settings.log_level)
    run(function, target, settings, metrics_port, instance=instance, scale=wanted)

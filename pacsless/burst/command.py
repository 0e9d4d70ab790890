"""The ``burst`` command of the CLI."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from pacsless.burst import plot, summary, watching
from pacsless.burst.load import Load
from pacsless.burst.probes import MOST_STUDIES, Addresses
from pacsless.burst.templates import bundled, templates
from pacsless.burst.timeline import Sample
from pacsless.send.pdu import Receiver
from pacsless.settings import Settings
from pacsless.stack.settings import LOOPBACK, StackSettings

_TIMEOUT: Final = 120.0


@click.command()
@click.option("--instances", default=1000, show_default=True, type=click.IntRange(1, 1_000_000),
              help="To send.")  # fmt: skip
@click.option("--studies", type=click.IntRange(1, MOST_STUDIES),
              help="They are of; one for each 100 unless given.")  # fmt: skip
@click.option("--series", default=2, show_default=True, type=click.IntRange(1, 1000),
              help="Of each study.")  # fmt: skip
@click.option("--from", "source", multiple=True, type=click.Path(exists=True, path_type=Path),
              help="Files or folders to make instances from; pydicom's CT and MR unless given.",
              )  # fmt: skip
@click.option("--senders", default=4, show_default=True, type=click.IntRange(1, 64),
              help="Associations at a time; a study goes over one.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(0, min_open=True),
              help="Instances a second; as fast as possible unless given.")  # fmt: skip
@click.option("--host", help="Another archive's address; then only what is named is watched.")
@click.option("--port", type=click.IntRange(1, 65535), help="Its DICOM port.")
@click.option("--called", default="PACSLESS", show_default=True, help="Its AE title.")
@click.option("--calling", default="PACSLESS_SEND", show_default=True,
              help="AE title to send as.")  # fmt: skip
@click.option("--tenant", default="", help="Whose instances the AE titles make them.")
@click.option("--dicomweb", default="", help="Its DICOMweb root.")
@click.option("--kafka", default="", help="Its brokers, for the backlog.")
@click.option("--sql", default="", metavar="HOST:PORT", help="Its warehouse's MySQL port.")
@click.option("--settings", "by_settings", is_flag=True,
              help="Watch Kafka, PostgreSQL and Doris where PACSLESS_... of the environment "
              "says, with its passwords.")  # fmt: skip
@click.option("--gateway", "gateways", multiple=True, metavar="URL",
              help="A gateway's metrics, for the outbox; once for each.")  # fmt: skip
@click.option("--workers-command", default="", metavar="COMMAND",
              help="Prints a line 'FUNCTION NUMBER' for each, for the workers.")  # fmt: skip
@click.option("--interval", default=1.0, show_default=True, type=click.FloatRange(0.05, 60),
              help="Seconds between looks.")  # fmt: skip
@click.option("--patience", default=60.0, show_default=True, type=click.FloatRange(1),
              help="Seconds without progress to wait.")  # fmt: skip
@click.option("--after", default=0.0, show_default=True, type=click.FloatRange(0),
              help="Seconds to look on when all is done.")  # fmt: skip
@click.option("--plot", "picture", type=click.Path(dir_okay=False, path_type=Path),
              help="Draw a PNG of it.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def burst(
    *, instances: int, studies: int | None, series: int, source: tuple[Path, ...],
    senders: int, rate: float | None, host: str | None, port: int | None, called: str,
    calling: str, tenant: str, dicomweb: str, kafka: str, sql: str, by_settings: bool,
    gateways: tuple[str, ...], workers_command: str, interval: float, patience: float,
    after: float, picture: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Send a realistic load by C-STORE and show what becomes of it over time.

    New studies of synthetic patients, made from a few images. The exit code is
    0 if everything was stored and has arrived wherever could be asked.
    """
    if picture is not None:
        plot.require(picture)
    if host or port:
        addresses = _named(tenant, dicomweb, kafka, sql, by_settings=by_settings)
        addresses = replace(addresses, gateways=gateways, workers=_words(workers_command))
        receiver = Receiver(host or LOOPBACK, port or 11112, called, calling, _TIMEOUT)
    else:
        if dicomweb or kafka or sql or by_settings or gateways or workers_command:
            raise click.UsageError(
                "--dicomweb, --kafka, --sql, --settings, --gateway and --workers-command go with "
                "--host or --port"
            )
        stack = StackSettings.from_environ()
        addresses = Addresses.of_stack(stack, tenant)
        receiver = Receiver(LOOPBACK, stack.ports.scp_gateway, called, calling, _TIMEOUT)
    load = Load.new(
        templates(source or bundled()),
        instances,
        studies or min(MOST_STUDIES, -(-instances // 100)),
        series,
    )
    options = watching.Options(
        senders=senders, rate=rate, interval=interval, patience=patience, after=after
    )
    quiet = as_json or not sys.stderr.isatty()
    outcome = watching.run(
        receiver, load, addresses, options, (lambda sample: None) if quiet else _progress
    )
    if not quiet:
        click.echo("\r\033[K", nl=False, err=True)
    click.echo(json.dumps(summary.as_dict(outcome), indent=1) if as_json else summary.text(outcome))
    for problem in outcome.problems:
        click.echo(f"pacsless: {problem}", err=True)
    if picture is not None:
        title = f"{instances:,} instances in {load.studies:,} studies by {senders} senders"
        plot.plot(outcome.timeline, title, picture)
        click.echo(f"The picture is {picture}.", err=True)
    sys.exit(0 if outcome.complete else 1)


def _named(tenant: str, dicomweb: str, kafka: str, sql: str, *, by_settings: bool) -> Addresses:
    """Where another archive is asked: as the options say, or as the settings do."""
    settings = Settings.from_environ()
    brokers = tuple(one.strip() for one in kafka.split(",") if one.strip())

    def set_to(name: str) -> Any:
        # What a setting is unless it is set is about the local stack.
        given = by_settings and f"PACSLESS_{name.upper()}" in os.environ
        return getattr(settings, name) if given else None

    return Addresses(
        tenant=tenant or "default",
        dicomweb=dicomweb.rstrip("/"),
        kafka=brokers or set_to("kafka") or (),
        postgres=set_to("postgres") or "",
        sql=sql or set_to("doris_mysql") or "",
        doris=settings,
    )


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise click.UsageError(f"--workers-command: {error}") from None


def _progress(sample: Sample) -> None:
    told = [f"{sample.at:6.1f} s", f"{sample.acknowledged:,} acknowledged"]
    told += [
        f"{value:,} {what}"
        for what in ("indexed", "described", "loaded", "backlog")
        if (value := getattr(sample, what)) is not None
    ]
    click.echo(f"\r\033[K{', '.join(told)}", nl=False, err=True)

"""``python -m tests.crash``: the long run.

The exit code is 0 if all was well, 1 if something was violated, 2 if the
harness could not do its work.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from tests.crash.checks import Topics
from tests.crash.disks import NoDisks, require_disks
from tests.crash.full import FullDisk
from tests.crash.kills import Kills
from tests.crash.large import FRAMES, LargeObject, NoCgroups, require_cgroups
from tests.crash.points import Points
from tests.crash.power import PowerCuts
from tests.crash.processes import MUTATIONS, CrashGateway
from tests.crash.report import Report, run
from tests.services import KafkaBroker

PARTS: Final = ("kills", "receivers", "points", "power", "full", "large")
_ON_DISKS: Final = {"power", "full"}
_INSIDE: Final = "PACSLESS_CRASH_INSIDE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of each part to do."""

    kills: int
    receiver_kills: int
    cuts: int
    points: int
    short_points: bool
    senders: int
    frames: int
    memory: int
    seed: int
    without: str


@click.command()
@click.option("--parts", default=",".join(PARTS), show_default=True, help="What to do.")
@click.option("--kills", default=200, show_default=True, help="Kills of the whole gateway.")
@click.option("--receiver-kills", default=60, show_default=True, help="Kills of one receiver.")
@click.option("--cuts", default=60, show_default=True, help="Power cuts.")
@click.option("--points", default=0, help="At most so many points; 0 for all.")
@click.option("--short-points", is_flag=True, help="Each point once only.")
@click.option("--senders", default=4, show_default=True, help="Associations at a time.")
@click.option(
    "--frames", default=FRAMES, show_default=True, help="Of the large object; 512 KiB each."
)
@click.option("--memory", default=512, show_default=True, help="MiB the gateway may use for it.")
@click.option("--seed", default=20261125, show_default=True)
@click.option(
    "--without", default="", type=click.Choice(["", *MUTATIONS]),
    help="Leave a step of durability out; violations are expected then.",
)  # fmt: skip
@click.option("--kafka", default="", help="Bootstrap server, instead of a broker of our own.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep everything there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(parts: str, kafka: str, folder: Path | None, *, as_json: bool, **plan: Any) -> None:
    """Kill the gateway, cut its power, fill its disk, and look at what is left."""
    chosen = parts.split(",")
    if unknown := set(chosen) - set(PARTS):
        raise click.UsageError(f"no such part: {', '.join(sorted(unknown))}")
    chosen = list(_possible(chosen))
    if _ON_DISKS.intersection(chosen):
        _go_inside()
    reports: list[Report] = []
    with ExitStack() as stack:
        root = folder or Path(tempfile.mkdtemp(prefix="pacsless-crash-"))
        if folder is None:
            stack.callback(shutil.rmtree, root)
        root.mkdir(exist_ok=True)
        server, broker = stack.enter_context(_broker(root, kafka))
        for report in _run(chosen, root, (server, broker), Plan(**plan)):
            print(report, file=sys.stderr, flush=True)
            reports.append(report)
    violated = any(one.violations for one in reports)
    if as_json:
        click.echo(json.dumps({"violated": violated, "parts": [one.as_dict() for one in reports]}))
    else:
        click.echo("VIOLATED" if violated else "all was well")
    sys.exit(1 if violated else 0)


def _run(
    parts: Sequence[str], root: Path, kafka: tuple[str, KafkaBroker | None], plan: Plan
) -> Iterator[Report]:
    server, broker = kafka
    for part in parts:
        # To the brim first: then every write of the gateway may fail.
        for mark in (100, 90) if part == "full" else (0,):
            place = root / (f"{part}-{mark}" if mark else part)
            place.mkdir()
            topics = Topics(server)
            try:
                if part == "full":
                    yield FullDisk(
                        place, topics, seed=plan.seed, high_water_percent=mark, broker=broker
                    ).run()
                else:
                    yield _run_part(part, place, topics, plan)
            finally:
                topics.close()


def _run_part(part: str, place: Path, topics: Topics, plan: Plan) -> Report:
    seed, without = plan.seed, plan.without
    match part:
        case "power":
            return PowerCuts(place, topics, seed=seed, senders=plan.senders, without=without).run(
                plan.cuts
            )
        case "points":
            gateway = CrashGateway(place, topics.server, receivers=1, without=without)
            return Points(place, topics, gateway, seed=seed).run(
                twice=not plan.short_points, most=plan.points
            )
        case "large":
            return LargeObject(place, topics.server).run(plan.frames, plan.memory << 20)
        case "receivers":
            gateway = CrashGateway(place, topics.server, receivers=3, without=without)
            rounds = plan.receiver_kills
        case _:
            gateway = CrashGateway(place, topics.server, without=without)
            rounds = plan.kills
    return Kills(part, place, topics, gateway, seed=seed, senders=plan.senders).run(rounds)


@contextmanager
def _broker(root: Path, kafka: str) -> Iterator[tuple[str, KafkaBroker | None]]:
    if kafka:
        yield kafka, None
        return
    folder = root / "kafka"
    folder.mkdir()
    broker = KafkaBroker(folder)
    try:
        broker.start()
        yield broker.servers[0], broker
    finally:
        broker.stop()


def _possible(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        try:
            if part in _ON_DISKS:
                require_disks()
            if part == "points" and shutil.which("strace") is None:
                raise NoDisks("not installed: strace")
            if part == "large":
                require_cgroups()
        except (NoDisks, NoCgroups) as error:
            print(f"{part}: skipped: {error}", file=sys.stderr)
        else:
            yield part


def _go_inside() -> None:
    """Begin again in namespaces of our own.

    However the harness ends, its processes end with it, and with the last of
    them its mounts and loop devices.
    """
    if os.environ.get(_INSIDE) is None:
        os.environ[_INSIDE] = "1"
        os.execvp(
            "unshare",
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc",
             # The shell is their init: it buries receivers whose parent was killed.
             "--kill-child", "sh", "-c", '"$@"; exit $?', "sh",
             sys.executable, "-m", "tests.crash", *sys.argv[1:]],
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(main))

"""``python -m tests.faults``: the long run.

The exit code is 0 if all was well, 1 if something was violated, 2 if the
harness could not do its work.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from pacsless.stack.settings import Ports
from tests.crash.report import Report, run
from tests.faults.rounds import Rounds, Size
from tests.faults.strikes import per_part
from tests.faults.system import MUTATIONS, WITHOUT, FaultSettings, System
from tests.ports import free_base

_BASE: Final = "PACSLESS_PORT_BASE"
_ENDED: Final = 128 + signal.SIGTERM


@click.command()
@click.option("--rounds", default=20, show_default=True)
@click.option("--instances", default=2000, show_default=True, help="Of both tenants, each round.")
@click.option("--strikes", default=16, show_default=True, help="Each round.")
@click.option("--senders", default=2, show_default=True, help="Associations of each tenant.")
@click.option("--seed", default=20261128, show_default=True)
@click.option("--replay/--no-replay", default=True, help="Handle all topics again in the end.")
@click.option(
    "--without", default="", type=click.Choice(["", *MUTATIONS]),
    help="Break a rule of the event runtime; violations are expected then.",
)  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path), help="Keep everything there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(
    *, rounds: int, instances: int, strikes: int, senders: int, seed: int, without: str,
    folder: Path | None, replay: bool, as_json: bool,
) -> None:  # fmt: skip
    """Kill parts of the whole stack under load, and look at what is left when it is quiet."""
    home = folder or Path(tempfile.mkdtemp(prefix="pacsless-faults-"))
    home.mkdir(exist_ok=True)
    home.chmod(0o755)  # PostgreSQL's user must reach its data
    if without:
        os.environ[WITHOUT] = without
    # Of a stack whose harness was ended nothing must stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_ENDED))
    size = Size(instances=instances, strikes=strikes, senders=senders)
    reports: list[Report] = []
    killed: dict[str, int] = {}
    clean = False
    try:
        with System(FaultSettings(home=home / "home", ports=_ports())) as system:
            work = Rounds(system, home, size, seed)
            try:
                for number in range(1, rounds + 1):
                    reports.append(work.run(number))
                    print(reports[-1], file=sys.stderr, flush=True)
                if replay:
                    reports.append(work.replay())
                    print(reports[-1], file=sys.stderr, flush=True)
            finally:
                work.close()
            killed = per_part(work.done)
            system.assert_mutated()
        clean = not any(one.violations for one in reports)
    finally:
        if clean and folder is None:
            shutil.rmtree(home)
        else:
            print(f"seed {seed}; logs are in {home}/home/log", file=sys.stderr)
    total = _total(reports)
    if as_json:
        parts = [one.as_dict() for one in reports]
        told = {"violated": not clean, "seed": seed, "total": total, "killed": killed}
        click.echo(json.dumps(told | {"parts": parts}))
    else:
        click.echo(", ".join(f"{name} {value}" for name, value in (total | killed).items()))
        click.echo("all was well" if clean else "VIOLATED")
    sys.exit(0 if clean else 1)


def _ports() -> Ports:
    return Ports.from_environ(os.environ) if _BASE in os.environ else Ports.at(free_base())


def _total(reports: list[Report]) -> dict[str, float]:
    names = ("acknowledged", "sent", "strikes")
    total = {name: sum(one.figures.get(name, 0) for one in reports) for name in names}
    slowest = max((one.figures.get("seconds to quiet", 0) for one in reports), default=0)
    violations = sum(one.violations.kinds.total() for one in reports)
    return total | {"slowest to quiet": slowest, "violations": violations}


if __name__ == "__main__":
    sys.exit(run(main))

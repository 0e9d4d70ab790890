"""From the acknowledgement to everywhere: the whole stack under a burst, then idle.

It starts a stack of its own, sends a burst of new CT and MR instances with the
senders of ``pacsless burst``, then single ones, then starts functions anew. See
``bench/README.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.cold_start import cold_starts
from bench.end_to_end_report import BEGIN, END, Found, report
from bench.gateway import REPOSITORY
from bench.machine import facts, prepare
from bench.measure import say
from bench.parts import processor_seconds
from bench.receivers import free_ports
from pacsless.burst import plot, summary, watching
from pacsless.burst.load import Load
from pacsless.burst.probes import Addresses
from pacsless.burst.templates import Template, bundled, templates
from pacsless.burst.timeline import Sample
from pacsless.errors import PacslessError
from pacsless.readme import fill
from pacsless.send.pdu import Receiver
from pacsless.stack import lifecycle
from pacsless.stack.settings import LOOPBACK, Ports, StackSettings

_WARM_UP = 200
_COLD = ("extract_tags", "build_metadata", "load_doris")


def main() -> None:
    """Measure, print, write."""
    options = _options()
    if options.source:
        found = Found(**json.loads(options.source.read_text()))
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: stopped"))
        try:
            found = _measure(options)
        except PacslessError as error:
            raise SystemExit(f"bench: {error.message}") from None
    print(json.dumps(asdict(found), indent=1) if options.json else report(found))
    if options.write:
        options.write.write_text(fill(options.write.read_text(), report(found), BEGIN, END))


def _measure(options: argparse.Namespace) -> Found:
    if options.plot:
        plot.require(options.plot)
    load = prepare(options.folder)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.folder)).absolute()
    folder.chmod(0o755)  # PostgreSQL's user passes
    stack = StackSettings(home=folder / "home", ports=Ports.at(_base()))
    try:
        known = {**facts(folder), "load average before": f"{load:.2f}"}
        say("starting a stack")
        lifecycle.up(stack)
        found = _Measurement(stack, templates(options.source_files or bundled()), options).run()
    finally:
        lifecycle.down(stack)
        shutil.rmtree(folder, ignore_errors=True)
    found.cold = _cold(options.starts)
    found.facts = known
    return found


class _Measurement:
    """What is done with a stack that is up."""

    def __init__(
        self, stack: StackSettings, some: list[Template], options: argparse.Namespace
    ) -> None:
        self._stack, self._templates, self._options = stack, some, options
        self._addresses = Addresses.of_stack(stack)
        self._receiver = Receiver(
            LOOPBACK, stack.ports.scp_gateway, "PACSLESS", "PACSLESS_BENCH", 120.0
        )

    def run(self) -> Found:
        """Measure everything."""
        options = self._options
        self._send(_WARM_UP, 4, 2)
        say(f"a burst of {options.instances:,} instances")
        before = processor_seconds(self._stack)
        outcome = self._send(options.instances, options.senders, 4)
        used = processor_seconds(self._stack)
        told = summary.as_dict(outcome)
        say(summary.text(outcome))
        picture = ""
        if options.plot:
            title = f"{options.instances:,} instances by {options.senders} senders"
            plot.plot(outcome.timeline, title, options.plot)
            picture = os.path.relpath(options.plot, options.write.parent if options.write else ".")
        samples = told.pop("samples")
        return Found(
            facts={},
            burst=told,
            senders=options.senders,
            backlog=max((one["backlog"] or 0 for one in samples), default=0),
            milliseconds={
                name: round((seconds - before.get(name, 0.0)) / options.instances * 1000, 3)
                for name, seconds in used.items()
            },
            single=self._singles(),
            cold={},
            picture=picture,
        )

    def _send(self, instances: int, senders: int, series: int) -> watching.Outcome:
        load = Load.new(self._templates, instances, -(-instances // 100), series)
        options = watching.Options(senders=senders, patience=120.0)
        shown = [0]

        def tell(sample: Sample) -> None:
            if sample.at - shown[0] >= 10:
                shown[0] = int(sample.at)
                say(f"  {sample.at:5.0f} s: {sample.acknowledged:,} acknowledged, "
                    f"{sample.loaded or 0:,} in the warehouse, {sample.backlog or 0:,} waiting",
                    )  # fmt: skip

        outcome = watching.run(self._receiver, load, self._addresses, options, tell)
        if not outcome.complete:
            raise PacslessError(
                "incomplete",
                f"not everything was stored and arrived everywhere: {'; '.join(outcome.problems)}",
            )
        return outcome

    def _singles(self) -> dict[str, list[float]]:
        """Seconds from the acknowledgement of a single instance to each milestone."""
        say(f"{self._options.singles} single instances")
        # Neither lag nor workers: an idle system is not asked what it does.
        asked = replace(self._addresses, kafka=(), gateways=(), stack=None)
        options = watching.Options(senders=1, interval=0.05)
        found: dict[str, list[float]] = {}
        for _ in range(self._options.singles):
            load = Load.new(self._templates, 1, 1, 1)
            outcome = watching.run(self._receiver, load, asked, options)
            for name, delays in outcome.timeline.delays().items():
                found.setdefault(name, []).extend(round(delay, 4) for _, delay in delays)
        return found


def _cold(rounds: int) -> dict[str, list[float]]:
    """Seconds from an event on an idle topic, with no worker, to its function handling it."""
    say(f"functions start {rounds} times each")
    found = {}
    for name, times in cold_starts(_COLD, rounds):
        found[name] = [round(whole, 3) for whole, _ in times]
        say(f"  {name} {statistics.median(found[name]):.2f} s")
    return found


def _base() -> int:
    while True:
        (base,) = free_ports(1)
        if base < 65000 and not Ports.at(base).in_use():
            return base


def _options() -> Any:
    assert __doc__
    parser = argparse.ArgumentParser(
        prog="bench.end_to_end", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--instances", type=int, default=10_000, help="of the burst")
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument(
        "--singles", type=int, default=50, help="single instances, on an idle stack"
    )
    parser.add_argument("--starts", type=int, default=5, help="of each function")
    parser.add_argument("--files", dest="source_files", nargs="+", type=Path, metavar="PATH",
                        help="to make instances from; a CT and an MR unless given")  # fmt: skip
    parser.add_argument("--folder", type=Path, default=REPOSITORY / ".pacsless", metavar="FOLDER",
                        help="where the stack lies; PostgreSQL's user must reach it")  # fmt: skip
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a PNG of the burst")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", type=Path, metavar="FILE", help="fill in its tables")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE",
                        help="show what --json printed, measure nothing")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    main()

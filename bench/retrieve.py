"""Reading from Pacsless, from Orthanc and from nginx with the answers as files, in one run.

It starts a local stack, Orthanc and an nginx of its own, stores the same instances in the
first two, checks that all answer with what was stored, and reads with ``wrk``. Rates say
more about the machine than about the program; ratios hold. See ``bench/README.md``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import wrk
from bench.gateway import REPOSITORY
from bench.ingest import orthanc_command
from bench.machine import Others, facts, memory_folder, prepare
from bench.measure import say
from bench.parts import peak_memory, processor_seconds
from bench.peers import Absent, find_orthanc
from bench.receivers import NotStarted, free_ports
from bench.results import Result
from bench.retrieve_report import BEGIN, END, Found, report
from bench.retrieve_rows import CLIENTS, Resource, Row, resources, rows
from bench.servers import OrthancDicomweb, Pacsless, Server, StaticNginx
from bench.stored import Sizes, make
from pacsless.errors import PacslessError
from pacsless.functions import load_functions
from pacsless.readme import fill
from pacsless.stack.settings import Ports, StackSettings

_QUICK = Sizes(100, (100, 1000), 50)
_LONGEST = 20.0
"""Seconds of a measurement whose answers take longer than it is to take."""
_WARM_UP = 1.0
"""Seconds every server is read from before its first measurement in a row."""
_BYTES = 4 << 30
"""Of free memory, for the files that are sent."""
_PROCESSOR = 8
"""Clients while processor time is counted."""


def main() -> None:
    """Measure, print, write."""
    options = _options()
    if options.source:
        found = Found.from_json(options.source.read_text())
    else:
        wrk.require()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: stopped"))
        try:
            found = _measure(options)
        except (PacslessError, NotStarted) as error:
            raise SystemExit(f"bench: {error}") from None
    print(found.to_json() if options.json else report(found))
    if options.write:
        options.write.write_text(fill(options.write.read_text(), report(found), BEGIN, END))


def _measure(options: argparse.Namespace) -> Found:
    start, others = time.monotonic(), Others()
    load = prepare(options.folder)
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder))
        ).absolute()
        folder.chmod(0o755)  # PostgreSQL's user passes
        known = {**facts(folder), "load average before": f"{load:.2f}"}
        servers, absent, wanted = _servers(options, folder, stack)
        measurement = _Measurement(servers, wanted, options, folder)
        results = measurement.run(rows(wanted, options.clients))
        known["MiB a process of a function held at most"] = _memory(servers)
    known["processor time of other programs"] = f"{others.share():.0%} of the run's"
    known["reader"] = f"{wrk.version()}, {options.seconds:g} s a measurement, at least"
    say(f"done in {time.monotonic() - start:.0f} s")
    return Found(
        facts=known,
        rounds=options.rounds,
        profiles=[one.profile for one in servers],
        absent=absent,
        titles={one.key: one.title for one in wanted},
        sizes={
            one.key: {
                server.profile.key: server.sizes[one.key]
                for server in servers
                if one.key in server.sizes
            }
            for one in wanted
        },
        results=results,
        milliseconds=measurement.milliseconds,
        failures=measurement.failures,
    )


def _memory(servers: Sequence[Server]) -> str:
    functions = load_functions()
    held = {
        part: most
        for server in servers
        if isinstance(server, Pacsless)
        for part, most in peak_memory(server.stack).items()
        if part in functions
    }
    ordered = sorted(held.items(), key=lambda item: -item[1])
    return ", ".join(f"{part} {most:.0f}" for part, most in ordered)


def _servers(
    options: argparse.Namespace, folder: Path, stack: ExitStack
) -> tuple[list[Server], list[Absent], list[Resource]]:
    """Start everything and store in it what is read; everything is stopped with `stack`."""
    pool = Path(
        stack.enter_context(
            tempfile.TemporaryDirectory(prefix="bench-", dir=memory_folder(_BYTES) or folder)
        )
    )
    say("instances are made")
    stored = make(pool, _QUICK if options.quick else Sizes())
    wanted = resources(stored)
    if options.only:
        wanted = [one for one in wanted if one.key in options.only]
    home = folder / "home"
    pacsless = Pacsless(StackSettings(home=home, ports=Ports.at(_base())), REPOSITORY)
    servers: list[Server] = [pacsless]
    absent: list[Absent] = []
    orthanc = find_orthanc(folder, orthanc_command(options.orthanc), options.orthanc_root)
    if isinstance(orthanc, Absent):
        absent.append(orthanc)
    else:
        servers.append(OrthancDicomweb(orthanc))
    servers.append(StaticNginx(folder / "static", pacsless, wanted))
    for one in servers:
        stack.callback(one.stop)
        one.start(stored)
    return servers, absent, wanted


class _Measurement:
    """Rounds over rows over servers: what is compared is measured within seconds."""

    def __init__(
        self,
        servers: Sequence[Server],
        wanted: Sequence[Resource],
        options: argparse.Namespace,
        folder: Path,
    ) -> None:
        self._servers, self._options, self._folder = servers, options, folder
        self._resources = {one.key: one for one in wanted}
        self._answering: set[tuple[str, str]] = set()
        self.milliseconds: dict[str, dict[str, float]] = {}
        self.failures: list[str] = []

    def run(self, wanted: Sequence[Row]) -> list[Result[Row]]:
        """Measure every row of every server, round after round."""
        for resource in self._resources.values():
            for server in self._servers:
                wrong = server.check(resource)
                if wrong:
                    self._failed(server, resource.title, wrong)
                else:
                    self._answering.add((server.profile.key, resource.key))
        results = [Result(row) for row in wanted]
        for number in range(1, self._options.rounds + 1):
            for result in results:
                for server in self._servers:
                    key = server.profile.key
                    rate = None
                    if (key, result.row.resource) in self._answering:
                        rate = self._rate(server, result, number == 1)
                    result.rates.setdefault(key, []).append(rate)
                say(f"round {number} of {self._options.rounds}: {_line(result)}")
        return results

    def _rate(self, server: Server, result: Result[Row], first: bool) -> float | None:
        resource, clients = self._resources[result.row.resource], result.row.clients
        seconds = self._options.seconds
        counted = first and clients == _PROCESSOR and isinstance(server, Pacsless)
        walk = wrk.Walk(server.origin, server.paths(resource), resource.headers)
        try:
            if first:
                # What was read last has taken the place of this in everybody's memory.
                walk.read(clients, _WARM_UP, self._folder)
                server.settle()
            while True:
                before = processor_seconds(server.stack) if isinstance(server, Pacsless) else {}
                reading = walk.read(clients, seconds, self._folder)
                if reading.requests >= 2 * clients or seconds >= _LONGEST:
                    break
                seconds = min(_LONGEST, seconds * 4)
            rate = reading.rate(server.sizes[resource.key])
        except wrk.Unread as error:
            self._failed(server, f"{resource.title}, {clients} clients", str(error))
            return None
        if counted and isinstance(server, Pacsless) and reading.requests:
            after = processor_seconds(server.stack)
            self.milliseconds[resource.key] = {
                part: round((used - before.get(part, 0.0)) / reading.requests * 1000, 4)
                for part, used in after.items()
            }
        server.settle()
        if first:
            result.latencies[server.profile.key] = [reading.p50, reading.p95]
        return rate

    def _failed(self, server: Server, when: str, why: str) -> None:
        note = f"{server.profile.title}, {when}: {why}"
        say(f"FAILED {note}")
        self.failures.append(note)


def _line(result: Result[Row]) -> str:
    cells = [
        f"{key} {'failed' if rates[-1] is None else format(rates[-1], '.1f')}"
        for key, rates in result.rates.items()
    ]
    return f"{result.row.resource}, {result.row.clients}: {', '.join(cells)}"


def _base() -> int:
    while True:
        (base,) = free_ports(1)
        if base < 65000 and not Ports.at(base).in_use():
            return base


def _options() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(
        prog="bench.retrieve", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="less is stored; one short round")
    parser.add_argument("--rounds", type=int, help="3, or 1 if quick")
    parser.add_argument("--seconds", type=float, help="of a measurement: 2, or 1 if quick")
    parser.add_argument("--clients", type=int, nargs="+", help="1 8 32, or 8 if quick")
    parser.add_argument("--only", nargs="+", metavar="KEY", help="measure these answers only")
    parser.add_argument("--orthanc", default="Orthanc", metavar="COMMAND")
    root = os.environ.get("BENCH_ORTHANC_ROOT")
    parser.add_argument("--orthanc-root", default=Path(root) if root else None, type=Path,
                        metavar="FOLDER", help="its chroot (BENCH_ORTHANC_ROOT)")  # fmt: skip
    parser.add_argument("--folder", type=Path, default=REPOSITORY / ".pacsless", metavar="FOLDER",
                        help="where all write; PostgreSQL's user must reach it")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", type=Path, metavar="FILE", help="fill in its tables")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE",
                        help="show what --json printed, measure nothing")  # fmt: skip
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1.0 if options.quick else 2.0)
    options.clients = options.clients or ([_PROCESSOR] if options.quick else list(CLIENTS))
    return options


if __name__ == "__main__":
    main()

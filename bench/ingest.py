"""C-STORE rates of Pacsless' gateway and of its peers, in one run on one machine.

It starts everything it needs, each in a folder of its own on one disk, sends with
DCMTK's ``storescu``, checks that every acknowledged instance is there, and removes
what it made. Rates say more about the machine than about the program; ratios hold.
See ``bench/README.md`` for the peers.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.gateway import REPOSITORY, Broker, Gateway
from bench.instances import Instances
from bench.machine import Others, facts, memory_folder, prepare
from bench.measure import Bench, say
from bench.peers import peers
from bench.receivers import Receiver
from bench.report import BEGIN, END, report
from bench.results import CT, OURS, SMALL, Row, Run
from bench.senders import STORESCU
from pacsless.readme import fill

_SIDES = {CT: 512, SMALL: 56}
_LIMITS = {CT: 4000, SMALL: 16_000}
"""Most instances of a measurement: 2 GB of CTs."""


def main() -> None:
    """Measure, print, write."""
    options = _options()
    if options.source:
        run = Run.from_json(options.source.read_text())
    else:
        if shutil.which(STORESCU) is None:
            raise SystemExit(f"bench: {STORESCU} is missing: apt-get install dcmtk")
        # A plain SIGTERM would leave receivers and files behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: stopped"))
        run = _measure(options)
    if options.json:
        print(run.to_json())
    else:
        print(report(run))
    if options.write:
        options.write.write_text(fill(options.write.read_text(), report(run), BEGIN, END))


def _measure(options: argparse.Namespace) -> Run:
    start, others = time.monotonic(), Others()
    load = prepare(options.folder)
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder))
        )
        found, absent = peers(
            folder,
            orthanc_command(options.orthanc),
            options.orthanc_root,
            options.dicom_storescp,
            options.large_pdus,
        )
        broker = None
        if not options.without_kafka:
            broker = Broker(folder / "kafka")
            stack.callback(broker.stop)
            broker.start()
        receivers: list[Receiver] = [
            Gateway(folder / OURS, options.gateway_root, broker), *found
        ]  # fmt: skip
        if options.only:
            receivers = [one for one in receivers if one.profile.key in options.only]
        for one in receivers:
            stack.callback(one.remove)
            if os.stat(one.folder).st_dev != os.stat(folder).st_dev:
                say(f"warning: {one.profile.title} writes to another disk than the others")
        instances = _instances(stack, folder)
        known = {**facts(folder), "load average before": f"{load:.2f}"}
        bench = Bench(receivers, instances, options.seconds, folder)
        rows = [
            Row(size, associations, nodelay)
            for size in _SIDES
            for associations in options.associations
            for nodelay in (False, True)
        ]
        results = bench.run(rows, options.rounds, latencies=not options.quick)
    known["processor time of other programs"] = f"{others.share():.0%} of the run's"
    say(f"done in {time.monotonic() - start:.0f} s")
    return Run(
        facts=known,
        sizes={name: one.size for name, one in instances.items()},
        rounds=options.rounds,
        seconds=options.seconds,
        profiles=[one.profile for one in receivers],
        absent=absent,
        results=results,
        failures=bench.failures,
    )


def _instances(stack: ExitStack, folder: Path) -> dict[str, Instances]:
    # Beside its pixels an instance has elements, and a file takes whole pages.
    needed = sum(_LIMITS[name] * (side * side * 2 + 8192) for name, side in _SIDES.items())
    parent = memory_folder(needed) or folder
    pool = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=parent)))
    return {name: Instances(pool / str(side), side, _LIMITS[name]) for name, side in _SIDES.items()}


def orthanc_command(text: str) -> list[str] | None:
    """A command line in words, if its program is there."""
    command = shlex.split(text)
    return command if command and shutil.which(command[0]) else None


def _options() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(prog="bench.ingest", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round, no 16 associations")
    parser.add_argument("--rounds", type=int, help="3, or 1 if quick")
    parser.add_argument("--seconds", type=float, help="of a measurement: 2, or 1 if quick")
    parser.add_argument("--associations", type=int, nargs="+", help="1 4 16, or 1 4 if quick")
    parser.add_argument("--only", nargs="+", metavar="KEY", help="measure these receivers only")
    parser.add_argument("--without-kafka", action="store_true", help="events stay in the outbox")
    parser.add_argument("--gateway-root", type=Path, default=REPOSITORY, metavar="FOLDER",
                        help="another source tree to take the gateway from")  # fmt: skip
    parser.add_argument("--orthanc", default="Orthanc", metavar="COMMAND")
    root = os.environ.get("BENCH_ORTHANC_ROOT")
    parser.add_argument("--orthanc-root", default=Path(root) if root else None, type=Path,
                        metavar="FOLDER", help="its chroot (BENCH_ORTHANC_ROOT)")  # fmt: skip
    parser.add_argument("--dicom-storescp", default="dicom-storescp", metavar="PROGRAM")
    parser.add_argument("--large-pdus", action="store_true", help="give all peers PDUs of 128 KiB")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / ".pacsless", metavar="FOLDER",
                        help="on the disk all receivers write to")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", type=Path, metavar="FILE", help="fill in its tables")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE",
                        help="show what --json printed, measure nothing")  # fmt: skip
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1.0 if options.quick else 2.0)
    options.associations = options.associations or ([1, 4] if options.quick else [1, 4, 16])
    return options


if __name__ == "__main__":
    main()

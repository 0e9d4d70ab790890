"""Searches: how long a page of studies takes, by what is asked and how many there are.

``python -m bench.search`` makes an index of each size, starts PostgreSQL and the
function as a stack does, and asks one question after the other, each time with
another value.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import quote

from bench.machine import Others, facts
from bench.measure import say
from bench.receivers import Process, free_ports
from bench.report import table
from bench.studies import LAST_DAY, fill, name_of
from pacsless.errors import Unavailable
from pacsless.postgres import Database, migrate
from pacsless.readme import fill as fill_in
from pacsless.settings import Settings
from pacsless.stack.postgres import Postgres

BEGIN: Final = "<!-- search: made by `make bench-search` -->"
END: Final = "<!-- /search -->"
_REPOSITORY: Final = Path(__file__).resolve().parents[1]
_BAR_MS: Final = 15.0
_PAGE: Final = "limit=101&offset=0&includefield=00081030,00080060"
"""What OHIF's study list adds to each search."""


def _family(random: Random) -> str:
    return name_of(random.randrange(100_000)).partition("^")[0]


def _day(random: Random, last: int = 3650) -> date:
    return date.fromisoformat(LAST_DAY) - timedelta(days=random.randrange(last))


def _month(random: Random) -> str:
    day = _day(random)
    return f"{day - timedelta(days=30):%Y%m%d}-{day:%Y%m%d}"


Query = Callable[[Random, int], str]

QUERIES: Final[dict[str, Query]] = {
    "no key, the newest": lambda *_: "",
    "no key, offset 1,000": lambda *_: "offset=1000",
    "no key, offset 100,000": lambda *_: "offset=100000",
    "StudyInstanceUID": lambda r, n: f"StudyInstanceUID=1.2.826.{r.randrange(n)}",
    "PatientID": lambda r, n: f"PatientID=P{r.randrange(n * 2 // 5):08}",
    "AccessionNumber": lambda r, n: f"AccessionNumber=A{r.randrange(n):09}",
    "PatientName, whole": lambda r, _: f"PatientName={name_of(r.randrange(100_000))}",
    "PatientName, family*": lambda r, _: f"PatientName={_family(r)}*",
    "PatientName, *part*": lambda r, _: f"PatientName=*{_family(r)[1:5]}*",
    "PatientName, family*, of 1 %": lambda *_: "PatientName=yamada*",
    "PatientName, *two ideographs*, 1 %": lambda *_: "PatientName=*山田*",
    "PatientName, one letter in three": lambda r, _: f"PatientName=*{r.choice('aeinrs')}*",
    "PatientName, fuzzy": lambda r, _: (
        f"PatientName={name_of(r.randrange(100_000)).replace('^', ' ')}&fuzzymatching=true"
    ),
    "PatientName, fuzzy, family name": lambda r, _: f"PatientName={_family(r)}&fuzzymatching=true",
    "PatientName, none": lambda r, _: f"PatientName=*q{r.choice('xzjv')}q*",
    "ReferringPhysicianName": lambda r, _: (
        f"ReferringPhysicianName={name_of(r.randrange(300)).partition('^')[0]}*"
    ),
    "StudyDate, a day": lambda r, _: f"StudyDate={_day(r):%Y%m%d}",
    "StudyDate, a month": lambda r, _: f"StudyDate={_month(r)}",
    "StudyDate and StudyTime, two days": lambda r, _: (
        f"StudyDate={_day(r):%Y%m%d}-{LAST_DAY.replace('-', '')}&StudyTime=1000-1800"
    ),
    "ModalitiesInStudy, a third": lambda *_: "ModalitiesInStudy=CT",
    "ModalitiesInStudy, one in 400": lambda *_: "ModalitiesInStudy=ES",
    "ModalitiesInStudy, none": lambda *_: "ModalitiesInStudy=XX",
    "StudyDescription, *Thorax*": lambda *_: "StudyDescription=*Thorax*",
    "StudyDescription, *Mamma*ap": lambda *_: "StudyDescription=*Mamma*ap",
    "StudyDescription, none": lambda r, _: f"StudyDescription=*xq{r.randrange(10)}x*",
    "name, month and modality": lambda r, _: (
        f"PatientName=*{_family(r)[:3]}*&StudyDate={_month(r)}&ModalitiesInStudy=CT"
    ),
    "nothing at all": lambda r, _: f"PatientID=X{r.randrange(10**6)}",
}


@dataclass(slots=True)
class Found:
    """What was measured."""

    facts: dict[str, str] = field(default_factory=dict)
    times: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Milliseconds, by number of studies and by query."""
    results: dict[str, dict[str, float]] = field(default_factory=dict)
    """Studies in a page, on average."""
    requests: int = 0


def main() -> None:
    """Measure, print, write."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: stopped"))
    found = _measure(options)
    print(json.dumps(asdict(found), indent=1) if options.json else report(found))
    if options.write:
        options.write.write_text(fill_in(options.write.read_text(), report(found), BEGIN, END))


def _measure(options: argparse.Namespace) -> Found:
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.folder)).absolute()
    folder.chmod(0o755)  # PostgreSQL's user passes
    found, others = Found(facts(folder), requests=options.requests), Others()
    found.facts["load average before"] = f"{os.getloadavg()[0]:.2f}"
    try:
        for studies in options.studies:
            with ExitStack() as stack:
                postgres = stack.enter_context(_Server(folder / str(studies)))
                say(f"making {studies:,} studies")
                fill(postgres.settings, studies)
                ask(found, postgres.settings, studies, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found.facts["processor time of other programs"] = f"{others.share():.0%} of the run's"
    return found


class _Server:
    """A PostgreSQL as a stack has one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        folder.chmod(0o755)
        self._postgres = Postgres(folder, free_ports(1)[0])
        self._process = Process("PostgreSQL", folder / "log")

    def __enter__(self) -> _Server:
        self._process.start(self._postgres.prepare(), self._ready)
        migrate(self.settings, _REPOSITORY / "schemas" / "postgres")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    @property
    def settings(self) -> Settings:
        return Settings(postgres=self._postgres.url)

    def _ready(self) -> bool:
        try:
            Database.from_settings(self.settings).check()
        except Unavailable:
            return False
        return True


def ask(found: Found, settings: Settings, studies: int, folder: Path) -> None:
    """Start the function and measure every query on what is there."""
    port = free_ports(1)[0]
    function = Process("qido_rs", folder / "qido_rs.log")
    environ = {
        **os.environ,
        "FUNCTION_TARGET": "qido_rs",
        "FUNCTION_SOURCE": str(_REPOSITORY / "functions" / "qido_rs" / "main.py"),
        "PORT": str(port),
        "XDG_RUNTIME_DIR": str(folder),
        "PACSLESS_POSTGRES": settings.postgres,
        "PACSLESS_ARCHIVE": f"file://{folder}/archive",
    }
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        function.start([sys.executable, "-m", "pacsless.serve"], lambda: _is_up(port), environ)
        for name, query in QUERIES.items():
            random = Random(name)
            times, results = [], []
            for number in range(found.requests + 3):
                path = f"/dicom-web/studies?{_PAGE}&{quote(query(random, studies), safe='=&*')}"
                began = time.perf_counter()
                client.request("GET", path)
                answer = client.getresponse()
                body = answer.read()
                if answer.status != 200:
                    raise SystemExit(f"bench: {name}: {answer.status} {body[:200]!r}")
                if number >= 3:  # connections and caches are warm
                    times.append((time.perf_counter() - began) * 1000)
                    results.append(len(json.loads(body)))
            found.times.setdefault(f"{studies:,}", {})[name] = times
            found.results.setdefault(f"{studies:,}", {})[name] = statistics.mean(results)
            say(f"{studies:,} studies, {name}: p95 {_p95(times):.1f} ms")
    finally:
        client.close()
        function.stop()


def _is_up(port: int) -> bool:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        client.request("GET", "/readyz")
        return client.getresponse().status == 200
    except OSError:
        return False
    finally:
        client.close()


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


def report(found: Found) -> str:
    """Everything that was found."""
    largest = list(found.times)[-1]
    rows = [
        [name]
        + [
            cell
            for size, times in found.times.items()
            for cell in (
                f"{found.results[size][name]:.0f}",
                f"{statistics.median(times[name]):.1f}",
                f"{_p95(times[name]):.1f}",
                f"{min(times[name]):.1f}",
            )
        ]
        for name in found.times[largest]
    ]
    late = [name for name, times in found.times[largest].items() if _p95(times) > _BAR_MS]
    head = [
        f"{size} studies: {cell}"
        for size in found.times
        for cell in ("found", "p50", "p95", "least")
    ]
    verdict = f"not met by: {'; '.join(late)}" if late else "met by all"
    return "\n\n".join(
        [
            f"Milliseconds of a page of at most 101 studies, {found.requests} requests each.",
            table(["query", *head], rows),
            f"The bar, p95 of {_BAR_MS:g} ms at {largest} studies: {verdict}.",
            "\n".join(f"- {key}: {value}" for key, value in found.facts.items()),
        ]
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.search", description=__doc__)
    parser.add_argument("--studies", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--requests", type=int, default=100, help="of each query")
    parser.add_argument("--folder", type=Path, default=Path(".pacsless"))
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")
    parser.add_argument("--write", type=Path, metavar="FILE", help="fill in its tables")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""DCMTK's ``storescu``, one process for each association."""

from __future__ import annotations

import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

STORESCU = "/usr/bin/storescu"
"""By its full path: pynetdicom installs a namesake into the virtual environment."""

_TIMEOUT = 180.0

_LOG_CONFIG = """\
log4cplus.rootLogger = INFO, file
log4cplus.appender.file = log4cplus::FileAppender
log4cplus.appender.file.File = {file}
log4cplus.appender.file.layout = log4cplus::PatternLayout
log4cplus.appender.file.layout.ConversionPattern = %D{{%s %Q}} %m%n
"""
_LOG_LINE = re.compile(r"(\d+) ([\d.]+) (Sending Store Request|Received Store Response)")


class Unsent(Exception):
    """A sender did not get a success for everything."""


@dataclass(frozen=True, slots=True)
class Sender:
    """How to send.

    Attributes
    ----------
    associations
        How many at a time.
    nodelay
        Whether senders set TCP_NODELAY. DCMTK does not by default: it waits for the
        peer's TCP acknowledgement before it sends the rest of a message.
    """

    associations: int
    nodelay: bool

    def send(self, port: int, parts: list[list[Path]]) -> float:
        """Send each part over an association of its own; return the seconds until all are done.

        Raises
        ------
        Unsent
            If an instance is not acknowledged with success.
        """
        start = time.perf_counter()
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(lambda part: self._storescu(port, part), parts))
        return time.perf_counter() - start

    def latencies(self, port: int, paths: list[Path], folder: Path) -> list[float]:
        """Milliseconds from the request to the response of each instance, as storescu logs them."""
        config, log = folder / "storescu.cfg", folder / "storescu.log"
        config.write_text(_LOG_CONFIG.format(file=log))
        log.unlink(missing_ok=True)
        self._storescu(port, paths, "-lc", str(config))
        found, sent = [], 0.0
        for line in log.read_text().splitlines():
            if match := _LOG_LINE.match(line):
                moment = float(match[1]) * 1000 + float(match[2])
                if match[3].startswith("Sending"):
                    sent = moment
                else:
                    found.append(moment - sent)
        return found

    def _storescu(self, port: int, paths: list[Path], *options: str) -> None:
        environ = {key: value for key, value in os.environ.items() if key != "TCP_NODELAY"}
        if self.nodelay:
            environ["TCP_NODELAY"] = "1"
        command = [STORESCU, *options, "-aec", "PACSLESS", "127.0.0.1", str(port)]
        try:
            done = subprocess.run(
                [*command, *map(str, paths)],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
                env=environ, timeout=_TIMEOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Unsent(f"storescu was not done after {_TIMEOUT:g} s") from None
        # Without --no-halt it ends with an error at the first status that is no success.
        if done.returncode:
            raise Unsent(f"storescu ended with {done.returncode}: {done.stderr.strip()[-400:]}")

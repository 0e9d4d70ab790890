"""Logging: one JSON object a line, on standard error, without patient data.

What may stand in a line: UIDs, event ids, codes, counts, durations, tenant
names, paths of the archive. Give them as ``extra={"fields": {...}}``; messages
are constant sentences. Tracebacks name functions and lines but not the
exception's text unless it is one of our own, whose text is known to be clean.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from typing import Any, Final

from pacsless.errors import PacslessError

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
# Libraries that quote what they were given: a value they cannot decode, a
# statement with its parameters, a request; and one that reports every refused
# connection several times, which our own errors say once.
_THRESHOLDS: Final = {
    "pydicom": logging.CRITICAL,
    "pynetdicom": logging.CRITICAL,
    "pg8000": logging.ERROR,
    "urllib3": logging.ERROR,
    "botocore": logging.ERROR,
    "kafka": logging.WARNING,
    "kafka.net": logging.CRITICAL,
    # Quotes the text of an exception; `pacsless.handover` says the rest.
    "_granian": logging.CRITICAL,
}


class JsonFormatter(logging.Formatter):
    """One line of JSON a record."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON; control characters are escaped by it."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname,
            "service": self.service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line |= describe(record.exc_info[1])
        return json.dumps(line, default=str)


def describe(error: BaseException) -> dict[str, Any]:
    """Say what happened without quoting data.

    Returns
    -------
    dict
        ``error`` (class), ``at`` (the innermost five frames), and ``text`` if
        the error is one of ours.
    """
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    told: dict[str, Any] = {
        "error": type(error).__name__,
        "at": [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames],
    }
    if isinstance(error, PacslessError):
        told["text"] = str(error)
    return told


def configure(service: str, level: str = "INFO") -> None:
    """Set logging up for this process.

    Parameters
    ----------
    service
        Name of the part, on every line.
    level
        One of `LEVELS`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, threshold in _THRESHOLDS.items():
        logging.getLogger(name).setLevel(threshold)

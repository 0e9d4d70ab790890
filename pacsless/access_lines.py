"""From the lines of nginx's access log to events; pure.

nginx writes one JSON object per DICOMweb request (``log_format dicomweb`` in
``charts/pacsless/files/nginx.conf.template``). An event carries many of them, since a
record of Kafka and a CloudEvent cost more than what is in them; all are of one
tenant, whom the record's key names.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from pacsless import strict_json
from pacsless.access_routes import route_of, uids
from pacsless.errors import Unprocessable
from pacsless.events import AccessesLogged, Json
from pacsless.times import iso_time

MAX_ACCESSES: Final = 500
"""Most accesses of an event."""
MAX_BYTES: Final = 256 * 1024
"""Most bytes of the log that become one event, which is about half as long again."""

_log = logging.getLogger(__name__)
# What one line says that no row can is every access's fate that shares its event. So
# whatever the warehouse would refuse, and not cut, is refused here.
_LONGEST_NAME: Final = 64


def read_line(line: bytes) -> tuple[str, Json]:
    """Turn a line of the log into its tenant and an access of `AccessesLogged`.

    Raises
    ------
    Unprocessable
        If nginx did not write it, or not wholly.
    """
    try:
        if len(line) > MAX_BYTES:
            raise ValueError("no request has so much to tell")
        entry = _entry(line)
        tenant, request_id = _key(entry["tenant"]), _key(entry["request_id"])
        path = str(entry["path"]).partition("?")[0]
        method = str(entry["method"])
        route, about = route_of(method, path)
        if named := str(entry.get("instance", "")):
            about = uids(*named.split("/"))  # of WADO-URI, whose path names nothing
        study, series, instance = about
        return tenant, {
            "RequestID": request_id,
            "AccessedAt": iso_time(datetime.fromisoformat(entry["time"])),
            "Method": method,
            "Route": route,
            "Path": path,
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series,
            "SopInstanceUID": instance,
            "Status": _count(entry["status"], 31),
            "BytesSent": _count(entry["bytes_sent"], 63),
            "DurationMs": _milliseconds(entry["request_time"]),
            "RemoteAddress": str(entry["remote_addr"]),
            "UserAgent": str(entry["user_agent"]),
            "UserID": str(entry.get("user", "")),
        }
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        raise Unprocessable("access-log", "a line of the access log is not as nginx's") from None


def _entry(line: bytes) -> dict[str, Any]:
    try:
        found = strict_json.loads(line)
    except ValueError:
        # nginx copies a header's bytes, which need not be UTF-8.
        found = strict_json.loads(line.decode("utf-8", "replace").encode())
    if not isinstance(found, dict):
        raise TypeError("not an object")
    return found


def _key(name: Any) -> str:
    if not (isinstance(name, str) and name.isascii() and 0 < len(name) <= _LONGEST_NAME):
        raise ValueError("no name of a tenant or a request")
    return name


def _count(value: Any, bits: int) -> int:
    number = int(value)
    if not 0 <= number < 1 << bits:
        raise ValueError("no number that a column takes")
    return number


def _milliseconds(seconds: Any) -> float:
    number = float(seconds) * 1000
    if not 0 <= number < math.inf:
        raise ValueError("no duration")
    return round(number, 3)


def events_of(lines: Iterable[bytes]) -> list[AccessesLogged]:
    """Turn lines into events, each tenant's in the order of the log.

    A line that nginx did not write is told of in our own log, and left out.
    """
    events: list[AccessesLogged] = []
    growing: dict[str, list[Json]] = {}
    sizes: dict[str, int] = {}
    for line in lines:
        try:
            tenant, access = read_line(line)
        except Unprocessable as error:
            _log.warning("a line was left out", extra={"fields": {"code": error.code}})
            continue
        accesses = growing.setdefault(tenant, [])
        size = sizes.get(tenant, 0) + len(line)
        if accesses and (size > MAX_BYTES or len(accesses) == MAX_ACCESSES):
            events.append(_event(tenant, accesses))
            accesses = growing[tenant] = []
            size = len(line)
        accesses.append(access)
        sizes[tenant] = size
    return events + [_event(tenant, accesses) for tenant, accesses in growing.items()]


def _event(tenant: str, accesses: list[Json]) -> AccessesLogged:
    return AccessesLogged(tenant_id=tenant, study_instance_uid="", accesses=accesses)

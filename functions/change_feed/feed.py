"""What is asked of the change feed and what it answers: pure.

Parameters and entries are those of Microsoft's open-source DICOM server, so its
clients can read this feed; docs/change-feed.md says where the two differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pacsless.errors import BadRequest
from pacsless.times import iso_time

if TYPE_CHECKING:
    from pacsless.changes import Change

DEFAULT_LIMIT: Final = 100
MOST: Final = 200
"""Entries of one answer at most."""
_LARGEST_OFFSET: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Page:
    """Which entries are asked for."""

    offset: int = 0
    """The number after which they start: what the client has seen already."""
    limit: int = DEFAULT_LIMIT
    include_metadata: bool = True


def parse(parameters: Iterable[tuple[str, str]], *, latest: bool = False) -> Page:
    """Read the query component.

    Parameters
    ----------
    parameters
        Names and values, decoded. Names are compared regardless of case.
    latest
        Whether one entry is asked for, which has no offset and no limit.

    Raises
    ------
    BadRequest
        If one is unknown, repeated or not a value it can have. A filter that
        was silently not applied would look like a gap.
    """
    known = ["includeMetadata"] if latest else ["offset", "limit", "includeMetadata"]
    given: dict[str, str] = {}
    for name, value in parameters:
        key = name.lower()
        if key not in map(str.lower, known):
            raise BadRequest("query", f"the change feed takes {', '.join(known)} and nothing else")
        if key in given:
            raise BadRequest("query", "a parameter is given twice")
        given[key] = value
    metadata = given.get("includemetadata", "true").lower()
    if metadata not in ("true", "false"):
        raise BadRequest("query", "includeMetadata is true or false")
    return Page(
        offset=_whole("offset", given.get("offset", "0"), 0, _LARGEST_OFFSET),
        limit=_whole("limit", given.get("limit", str(DEFAULT_LIMIT)), 1, MOST),
        include_metadata=metadata == "true",
    )


def _whole(name: str, text: str, lowest: int, highest: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 20 and lowest <= int(text) <= highest:
        return int(text)
    raise BadRequest("query", f"{name} is a whole number from {lowest} to {highest}")


def entry(change: Change, metadata: bytes = b"") -> bytes:
    """An entry as JSON.

    Parameters
    ----------
    change
        What it says.
    metadata
        DICOM JSON of the instance, taken in as it is; empty for none.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from pacsless.changes import Change
    >>> at = datetime(2026, 11, 23, 8, tzinfo=UTC)
    >>> entry(Change(7, "1.2", "1.3", "1.4", "create", at, "current"))[:32]
    b'{"sequence":7,"studyInstanceUid"'
    """
    text = json.dumps(
        {
            "sequence": change.sequence,
            "studyInstanceUid": change.study_instance_uid,
            "seriesInstanceUid": change.series_instance_uid,
            "sopInstanceUid": change.sop_instance_uid,
            "action": change.action,
            "timestamp": iso_time(change.changed_at),
            "state": change.state,
        },
        separators=(",", ":"),
    ).encode()
    return text[:-1] + b',"metadata":' + metadata + b"}" if metadata else text

"""What the stack says of itself, each part asked in its own way."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import urllib3

from pacsless.events import TOPICS, dead_letter_topic
from pacsless.identity import InstanceIdentity
from tests.crash.checks import files_of
from tests.faults.poison import MARK, Buried
from tests.faults.system import System

_PAGE: Final = 1000
_CLIENTS: Final = 4
DERIVED: Final = ("metadata/", "renditions/")
"""How the keys of what is made from originals begin."""

_http: Final = urllib3.PoolManager(maxsize=_CLIENTS, timeout=60.0)


def get(url: str, accept: str = "application/dicom+json") -> Any:
    """GET; urllib3 tries again if nginx was away."""
    return _http.request("GET", url, headers={"Accept": accept})


def get_all(urls: Iterable[str], accept: str) -> Iterator[tuple[str, Any]]:
    """GET many, some at a time."""
    with ThreadPoolExecutor(_CLIENTS) as pool:
        yield from pool.map(lambda url: (url, get(url, accept)), urls)


def search(url: str) -> list[dict[str, Any]]:
    """All pages of a search."""
    found: list[dict[str, Any]] = []
    while True:
        answer = get(f"{url}?limit={_PAGE}&offset={len(found)}")
        page = answer.json() if answer.status == 200 else []
        assert answer.status in (200, 204), f"{url} answers {answer.status}"
        found += page
        if len(page) < _PAGE:
            return found


def value(attributes: dict[str, Any], tag: str) -> Any:
    """Return the first value of an attribute."""
    return attributes[tag]["Value"][0]


def file_digests(system: System) -> dict[str, str]:
    """SHA-256 of every original, by key."""
    found = {}
    for path in files_of(system.root):
        key = path.relative_to(system.root).as_posix()
        if not key.startswith(DERIVED):
            found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def ledger_rows(system: System) -> list[tuple[InstanceIdentity, str]]:
    """Every row of the instance ledger and its digest."""
    rows = system.sql(
        "SELECT tenant_id, study_instance_uid, series_instance_uid, sop_instance_uid, sha256"
        " FROM instance"
    )
    return [(InstanceIdentity(*row[:4]), str(row[4])) for row in rows]


def dead_letters(system: System) -> Counter[Buried]:
    """Every dead letter, and how often it is there."""
    from kafka import KafkaConsumer, TopicPartition

    consumer: Any = KafkaConsumer(bootstrap_servers=list(system.settings.client().kafka))
    try:
        partitions = [TopicPartition(dead_letter_topic(topic), 0) for topic in TOPICS]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: Counter[Buried] = Counter()
        while any(consumer.position(one) < ends[one] for one in partitions):
            for records in consumer.poll(timeout_ms=500).values():
                found.update(_buried(dict(one.headers)) for one in records)
        return found
    finally:
        consumer.close()


def _buried(headers: dict[str, bytes]) -> Buried:
    where = b"/".join(headers[f"dlq_{one}"] for one in ("topic", "partition", "offset"))
    # Innocent events have no mark: they are known by where they stood.
    return Buried(
        headers.get(MARK, where).decode(),
        headers["dlq_function"].decode(),
        headers["dlq_code"].decode(),
    )

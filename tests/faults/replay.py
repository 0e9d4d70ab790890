"""Every topic handled again from its start: nothing may change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from pacsless.bus import group_id
from pacsless.columns import CONVERSION_FAILURE, TABLES
from pacsless.functions import load_functions
from tests.crash.checks import Violations, files_of
from tests.eventually import eventually
from tests.faults.system import Quiet, System
from tests.faults.views import DERIVED

Row = dict[str, str]
Snapshot = dict[str, Row]
"""Everything that is made from events: a table and key, or a path, to what it holds."""

_TABLES: Final = """
SELECT t.relname::text,
    coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL),
             '{}')
FROM pg_class t
LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisprimary
LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY (i.indkey)
WHERE t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace
    AND t.relname <> ALL ('{sweep,announced_file}')  -- where the timer's sweeps stand
GROUP BY t.relname ORDER BY t.relname
"""


def take(system: System) -> Snapshot:
    """Read every table of PostgreSQL and of the warehouse, and every document and rendition."""
    return dict([*_postgres(system), *_warehouse(system), *_files(system)])


def replay(system: System, within: float) -> Quiet:
    """Have every function handle all there is on its topics again."""
    triggers = [
        f"{name}-trigger" for name, spec in load_functions().items() if spec.kind == "event"
    ]
    system.supervisor.stop(triggers)
    _forget_positions(system)
    system.supervisor.start(triggers)
    return system.quiet(within)


def compare(before: Snapshot, after: Snapshot, violations: Violations) -> None:
    """Note what is another after a replay; which columns, and not what they hold."""
    for key in before.keys() - after.keys():
        violations.add("a replay took away", key)
    for key in after.keys() - before.keys():
        violations.add("a replay added", key)
    for key in before.keys() & after.keys():
        names = before[key].keys() | after[key].keys()
        changed = sorted(one for one in names if before[key].get(one) != after[key].get(one))
        if changed:
            violations.add(f"a replay changed {key.partition(' ')[0]}", f"{key}: {changed}")


def _forget_positions(system: System) -> None:
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    groups = [group_id(name) for name, spec in load_functions().items() if spec.kind == "event"]
    client: Any = KafkaAdminClient(bootstrap_servers=list(system.settings.client().kafka))

    def gone() -> bool:
        there = {one["group_id"] for one in client.list_groups()}.intersection(groups)
        try:
            # Refused while the broker counts one that was killed as a member.
            client.delete_groups(sorted(there))
        except KafkaError:
            return False
        return not there

    try:
        eventually(gone, within=120)
    finally:
        client.close()


def _postgres(system: System) -> Iterator[tuple[str, Row]]:
    for table, key in system.sql(_TABLES):
        for (row,) in system.sql(f'SELECT to_jsonb(t) FROM "{table}" AS t'):
            texts = {name: str(value) for name, value in row.items()}
            yield f"{table} {_key(texts, key or texts)}", texts


def _warehouse(system: System) -> Iterator[tuple[str, Row]]:
    for table in TABLES:
        names = [column.name for column in table.columns]
        for row in system.warehouse(f"SELECT {', '.join(names)} FROM {table.name}"):
            texts = dict(zip(names, map(str, row), strict=True))
            if table is CONVERSION_FAILURE and texts["failed_at"] != str(None):
                # Nothing is kept of a failure but its event: each try has its own time.
                del texts["failed_at"], texts["event_seq"]
            yield f"{table.name} {_key(texts, table.key)}", texts


def _key(row: Row, names: Any) -> str:
    return "/".join(row[one] for one in names)


def _files(system: System) -> Iterator[tuple[str, Row]]:
    for path in files_of(system.root):
        key = path.relative_to(system.root).as_posix()
        if key.startswith(DERIVED):
            yield f"file {key}", {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

"""Searches of the index: almost all take milliseconds, and no other waits for one that does not.

::

    rows = search_index(database, statement)
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

from pacsless.errors import TooLarge, Unavailable
from pacsless.postgres import TimedOut

if TYPE_CHECKING:
    from pacsless.postgres import Database, Row, Transaction
    from pacsless.statement import Statement

BRIEFLY: Final = "500ms"
AT_LENGTH: Final = "5s"
_broad: Final = threading.BoundedSemaphore(1)

_LIMITS: Final = (
    "SELECT set_config('statement_timeout', :timeout, true),"
    " set_config('enable_indexscan', :walk, true),"
    " set_config('max_parallel_workers_per_gather', '0', true),"
    " set_config('jit', 'off', true),"
    " set_config('random_page_cost', '1.1', true)"
)
"""How a search runs: within a time and on one core, as a broad one is no reason for
others to wait; walking through an index in its order or not; not compiled, which
takes longer than most searches; and with its index in memory or on flash, where
pages cost the same in any order."""


def search_index(
    database: Database,
    statement: Statement,
    *,
    fuzzy: bool = False,
    matches_first: Statement | None = None,
) -> list[Row]:
    """Run a search; of those that take long, one at a time.

    To fill a page, PostgreSQL either walks through all rows in their order, which is
    fast if many match, or finds the matches first. It knows which by its statistics,
    and if it was wrong the second try goes the other way.

    Parameters
    ----------
    database
        Has the index.
    statement
        The search.
    fuzzy
        Whether it asks for names that sound alike, of which the statistics know nothing.
    matches_first
        What asks for the same so that it cannot be walked: the second try, if the search
        joins tables, for which it needs indexes either way.

    Raises
    ------
    TooLarge
        If it takes too long: PS3.18 §10.6.3.1 has 413 for a search that is too broad.
    Unavailable
        If another broad one is running.
    """
    first = "off" if fuzzy else "on"
    second = "on" if fuzzy or matches_first else "off"
    again = matches_first or statement

    def work(transaction: Transaction, timeout: str, walk: str, asked: Statement) -> list[Row]:
        transaction.run(_LIMITS, timeout=timeout, walk=walk)
        return transaction.run(asked.text, **asked.parameters)

    with contextlib.suppress(TimedOut):
        return database.run(lambda transaction: work(transaction, BRIEFLY, first, statement))
    if not _broad.acquire(blocking=False):
        raise Unavailable("query", "another broad search is running: try again soon")
    try:
        return database.run(lambda transaction: work(transaction, AT_LENGTH, second, again))
    except TimedOut:
        raise TooLarge("query", "the search is too broad: add a key that is indexed") from None
    finally:
        _broad.release()

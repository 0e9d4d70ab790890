"""A Doris-compatible subset on DuckDB, for one machine. Never for production.

Three ports, as Doris has them: a front end that redirects Stream Loads, a back end
that takes the rows, and the MySQL protocol for queries. The client of
`pacsless.stream_load` cannot tell it from Doris, and it is as strict as Doris where
it matters: labels that expire, bytes that are counted, keys, sequence columns,
failures told with HTTP 200. What it does not know it refuses.

Not in the subset: deletes by Stream Load and the hidden delete sign (write a
tombstone, `is_deleted`), partial columns, two-phase and group commit, formats other
than lines of JSON, writing over the MySQL protocol, prepared statements.
"""

from pacsless.warehouse.faults import Fault, Faults
from pacsless.warehouse.server import Warehouse, run

__all__ = ["Fault", "Faults", "Warehouse", "run"]

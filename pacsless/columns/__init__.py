"""The warehouse's tables: one model, from which every DDL is generated.

Apache Doris in production, DuckDB on one machine; both get the same tables from
here, and `functions/load_doris` reads from here which column an attribute fills.
``python -m pacsless.columns --write schemas/doris`` writes the Doris DDL; a test
holds the committed files to it.

Rules the tables keep, all of them Doris's:

- A UNIQUE KEY is unique only *within a partition*, so a partition column is part
  of the key and never changes for a row: the date of first ingest, not StudyDate.
- Key columns are a prefix of the columns, in order; distribution is by key columns.
- ``VARCHAR(n)`` counts bytes of UTF-8, so a limit of n characters is 4n here.
- A row with a smaller sequence value never replaces one with a larger: a replay
  is harmless and a late event loses.
"""

from pacsless.columns.ddl import (
    doris_ddl,
    doris_files,
    duckdb_column,
    duckdb_ddl,
    duckdb_type,
)
from pacsless.columns.model import SEQUENCE, Column, Table, snake_case
from pacsless.columns.tables import (
    ACCESS_LOG,
    CONVERSION_FAILURE,
    IMAGE,
    RECEIVE_LOG,
    STATE,
    TABLES,
)

__all__ = [
    "ACCESS_LOG",
    "CONVERSION_FAILURE",
    "IMAGE",
    "RECEIVE_LOG",
    "SEQUENCE",
    "STATE",
    "TABLES",
    "Column",
    "Table",
    "doris_ddl",
    "doris_files",
    "duckdb_column",
    "duckdb_ddl",
    "duckdb_type",
    "snake_case",
]

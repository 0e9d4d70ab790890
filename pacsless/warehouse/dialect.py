"""Doris's SQL as DuckDB's: what is known and means the same, and nothing else.

A statement is parsed by sqlglot and walked; a kind of node or a function that is
not listed is refused by name. What both know but understand differently is
rewritten. Nothing is passed on in the hope that it works.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.dialects.doris import Doris
from sqlglot.errors import SqlglotError

from pacsless.warehouse.functions import FUNCTIONS, NODES, TYPES, Unknown, rewrite
from pacsless.warehouse.schema import DATABASE, INFORMATION, INFORMATION_TABLES

# It warns of JSON paths that start with a digit, as all of DICOM JSON's do.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


class SqlError(Exception):
    """A statement that cannot be run: MySQL error number, SQLSTATE and what to do."""

    def __init__(self, message: str, code: int = 1105, state: str = "HY000") -> None:
        super().__init__(message)
        self.code = code
        self.state = state


def unsupported(what: str) -> SqlError:
    """The error for what Doris knows and this subset does not."""
    return SqlError(f"errCode = 2, detailMessage = {what} is not in this subset of Doris")


def translate(
    sql: str,
    tables: Mapping[str, object],
    database: str | None,
    session: Callable[[str], str | int | None],
) -> str:
    """Translate a query.

    Parameters
    ----------
    sql
        One query, in Doris's SQL.
    tables
        Names of the database's tables.
    database
        The session's database, if it has one.
    session
        Value of ``@@name``, or of a function without arguments such as ``user``.

    Returns
    -------
    str
        The query in DuckDB's SQL; its columns have the names Doris gives them.

    Raises
    ------
    SqlError
        If it is no query, or uses what is not known.
    """
    try:
        statements = [one for one in sqlglot.parse(sql, read="doris") if one is not None]
    # The parser also fails by IndexError and AttributeError on what is no SQL.
    except (SqlglotError, RecursionError, IndexError, AttributeError) as error:
        text = str(error).split("\n", 1)[0][:200]
        raise SqlError(
            f"errCode = 2, detailMessage = Syntax error: {text}", 1064, "42000"
        ) from None
    if len(statements) != 1:
        raise unsupported("more than one statement at a time")
    tree = statements[0]
    if not isinstance(tree, exp.Select | exp.SetOperation | exp.Subquery):
        raise unsupported(
            f"{tree.key.upper()} over the MySQL protocol (it only reads; load by Stream Load)"
        )
    _name_columns(tree, sql)
    _check(tree)
    _resolve(tree, tables, database)
    try:
        tree = _apply(tree, lambda node: _session(node, session))
        tree = _apply(tree, rewrite)
    except Unknown as what:
        raise unsupported(str(what)) from None
    try:
        return tree.sql("duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)
    except SqlglotError as error:
        raise unsupported(str(error).split("\n", 1)[0][:200]) from None


def _apply(tree: exp.Expr, change: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """Change every node, children first."""
    for node in reversed(list(tree.walk())):
        changed = change(node)
        if changed is node:
            continue
        if node is tree:
            tree = changed
        else:
            node.replace(changed)
    return tree


def _name_columns(tree: exp.Expr, sql: str) -> None:
    """Name the unnamed columns after their text: ``count(*)``, not ``count_star()``."""
    texts = _select_list(sql)
    outermost = tree
    while isinstance(outermost, exp.SetOperation):
        outermost = outermost.this
    for select in tree.find_all(exp.Select):
        # Modifiers such as SQL_NO_CACHE are about MySQL's machinery.
        select.set("operation_modifiers", None)
        items = list(select.expressions)
        exact = select is outermost and len(texts) == len(items)
        for at, item in enumerate(items):
            if isinstance(item, exp.Alias | exp.Column | exp.Star):
                continue
            name = texts[at] if exact else item.sql("doris", normalize_functions="lower")
            if isinstance(item, exp.Literal) and item.is_string:
                name = str(item.this)
            item.replace(exp.alias_(item.copy(), name, quoted=True))


def _select_list(sql: str) -> list[str]:
    """Texts of the items of the first SELECT that is not in parentheses."""
    depth, start, last = 0, -1, -1
    items: list[str] = []
    for token in Doris().tokenize(sql):
        kind = token.token_type
        if start >= 0 and last == start and kind in (TokenType.DISTINCT, TokenType.ALL):
            if not items:
                start = last = token.end + 1
        elif depth == 0 and start < 0:
            if kind == TokenType.SELECT:
                start = last = token.end + 1
        elif depth == 0 and (kind == TokenType.COMMA or kind in _AFTER_LIST):
            items.append(sql[start:last].strip())
            start = last = token.end + 1
            if kind != TokenType.COMMA:
                return items
            continue
        depth += (kind == TokenType.L_PAREN) - (kind == TokenType.R_PAREN)
        last = token.end + 1
    return [*items, sql[start:last].strip()] if start >= 0 else []


_AFTER_LIST: Final = {
    TokenType.FROM, TokenType.WHERE, TokenType.UNION, TokenType.INTERSECT, TokenType.EXCEPT,
    TokenType.ORDER_BY, TokenType.LIMIT, TokenType.GROUP_BY, TokenType.HAVING,
}  # fmt: skip


def _check(tree: exp.Expr) -> None:
    for node in tree.walk():
        if isinstance(node, exp.Anonymous):
            name = str(node.this).lower()
            if name not in FUNCTIONS:
                raise unsupported(f"the function {name[:64]}")
            if len(node.expressions) not in FUNCTIONS[name]:
                raise unsupported(f"{name} with {len(node.expressions)} arguments")
        elif type(node) not in NODES:
            raise unsupported(f"{node.key.upper()}, as in: {node.sql('doris')[:100]}")
        elif isinstance(node, exp.DataType) and node.this.name not in TYPES:
            raise unsupported(f"the type {node.sql('doris')[:64]}")
        elif isinstance(node, exp.Join) and not _joins(node):
            raise unsupported(f"this join: {node.sql('doris')[:100]}")
        elif isinstance(node, exp.With) and node.args.get("recursive"):
            raise unsupported("WITH RECURSIVE")
        elif isinstance(node, exp.UnixToTime) and node.args.get("format"):
            raise unsupported("from_unixtime with a format")


def _joins(join: exp.Join) -> bool:
    kind = (join.args.get("kind") or "").upper()
    one_sided = kind in ("SEMI", "ANTI")
    return (
        not join.args.get("method")
        and kind in ("", "INNER", "OUTER", "CROSS", "SEMI", "ANTI")
        and not (one_sided and (join.args.get("side") or "").upper() == "RIGHT")
    )


def _resolve(tree: exp.Expr, tables: Mapping[str, object], database: str | None) -> None:
    """Point every table at the schema that holds it, and refuse the rest."""
    common = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier):
            raise unsupported("a table function")
        name, given = table.name, table.db
        if table.catalog not in ("", "internal"):
            raise SqlError(f"errCode = 2, detailMessage = Unknown catalog '{table.catalog}'")
        if not given and name.lower() == "dual":
            table.parent.pop() if isinstance(table.parent, exp.From) else None
            continue
        if not given and name in common:
            continue
        schema = given or database
        if not schema:
            raise SqlError("No database selected", 1046, "3D000")
        known: Mapping[str, object]
        if schema.lower() == "information_schema":
            schema, known, name = INFORMATION, INFORMATION_TABLES, name.lower()
        elif schema == DATABASE:
            known = tables
        else:
            raise SqlError(f"Unknown database '{schema[:64]}'", 1049, "42000")
        if name not in known:
            raise SqlError(
                f"errCode = 2, detailMessage = Table [{name[:64]}] does not exist in database "
                f"[{(given or schema)[:64]}].",
                1146,
                "42S02",
            )
        table.set("catalog", None)
        table.set("db", exp.to_identifier(schema, quoted=True))
        table.set("this", exp.to_identifier(name, quoted=True))
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
    for column in tree.find_all(exp.Column):
        # Tables have their name as alias now: a longer path would not find it.
        column.set("db", None)
        column.set("catalog", None)


_SESSION_NODES: Final[dict[type[exp.Expr], str]] = {
    exp.CurrentSchema: "database",
    exp.CurrentUser: "user",
    exp.SessionUser: "user",
    exp.CurrentVersion: "version",
}
_SESSION_FUNCTIONS: Final = {"user", "connection_id"}


def _session(node: exp.Expr, session: Callable[[str], str | int | None]) -> exp.Expr:
    if isinstance(node, exp.SessionParameter):
        name = node.this.name.lower()
        return exp.convert(session(f"@@{name}"))
    if type(node) in _SESSION_NODES:
        return exp.convert(session(_SESSION_NODES[type(node)]))
    if isinstance(node, exp.Anonymous) and str(node.this).lower() in _SESSION_FUNCTIONS:
        return exp.convert(session(str(node.this).lower()))
    return node

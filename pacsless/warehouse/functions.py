"""The constructs and functions of Doris's SQL the warehouse knows.

`NODES` and `FUNCTIONS` are the allow-list. `rewrite` changes what DuckDB would
understand differently, mostly without a word: weekdays count from elsewhere,
`length` means characters, differences count boundaries crossed, casts to whole
numbers round, failed casts are errors, and a DATE plus days is no DATE any more.
"""

from __future__ import annotations

import re
from typing import Final

import sqlglot
from sqlglot import exp

from pacsless.columns import TABLES

_STRUCTURE: Final = (
    "Select Union Intersect Except Subquery With CTE TableAlias From Join Where Group Having "
    "Qualify Order Ordered Limit Offset Distinct Alias Column Star Identifier Table Var Tuple "
    "Paren Literal Boolean Null Window WindowSpec Interval DataType DataTypeParam Exists"
)
_OPERATORS: Final = (
    "And Or Not EQ NEQ GT GTE LT LTE NullSafeEQ Is In Between Like Escape RegexpLike Add Sub Mul "
    "Div IntDiv Mod Neg Case If Cast"
)
_AGGREGATES: Final = (
    "Count Sum Avg Min Max GroupConcat ApproxDistinct AnyValue ArgMax ArgMin StddevPop StddevSamp "
    "VariancePop Variance CountIf RowNumber Rank DenseRank Lag Lead FirstValue LastValue Ntile"
)
_SCALARS: Final = (
    "Coalesce Nullif Greatest Least Abs Ceil Floor Round Trunc Pow Sqrt Ln Log Exp Sign "
    "Lower Upper Concat ConcatWs Substring Left Right Length Trim Pad Replace Reverse SplitPart "
    "StrPosition SubstringIndex RegexpExtract RegexpReplace"
)
_TIMES: Final = (
    "CurrentTimestamp CurrentDate UtcTimestamp TsOrDsToDate TsOrDsToTimestamp TimeToStr StrToDate "
    "TimestampTrunc DateTrunc DateAdd DateSub DateDiff TimestampDiff Year Month Day Hour Minute "
    "Second DayOfWeek DayOfMonth DayOfYear Quarter WeekOfYear LastDay UnixToTime"
)
_JSON: Final = "JSONExtract JSONExtractScalar JSONPath JSONPathKey JSONPathRoot JSONPathSubscript"
_SESSION: Final = "SessionParameter CurrentSchema CurrentUser CurrentVersion SessionUser"

NODES: Final = frozenset(
    getattr(exp, name)
    for names in (_STRUCTURE, _OPERATORS, _AGGREGATES, _SCALARS, _TIMES, _JSON, _SESSION)
    for name in names.split()
)
"""Kinds of nodes a query may have."""

_TYPES: Final = (
    "BOOLEAN TINYINT SMALLINT INT BIGINT INT128 FLOAT DOUBLE DECIMAL CHAR VARCHAR TEXT DATE "
    "DATETIME JSON"
)
TYPES: Final = frozenset(_TYPES.split())
"""Types a query may cast to."""

_WHOLE: Final = {"TINYINT", "SMALLINT", "INT", "BIGINT", "INT128"}

_NOW: Final = "make_timestamp(epoch_us(now()))"
_SPAN: Final = "date_sub('{}', CAST(_1 AS TIMESTAMP), CAST(_0 AS TIMESTAMP))"

_PARTS: Final = (
    "CASE WHEN _2 >= 0 THEN array_to_string(list_slice(string_split(_0, _1), 1, _2), _1) "
    "ELSE array_to_string(list_slice(string_split(_0, _1), _2, -1), _1) END"
)

FUNCTIONS: Final[dict[str, dict[int, str]]] = {
    # Answered from the session before anything is rewritten.
    **{name: {0: ""} for name in ("user", "connection_id")},
    "now": {0: f"date_trunc('second', {_NOW})"},
    "ndv": {1: "approx_count_distinct(_0)"},
    "percentile": {2: "quantile_cont(_0, _1)"},
    "percentile_approx": {2: "approx_quantile(CAST(_0 AS DOUBLE), _1)"},
    "unix_timestamp": {
        0: f"CAST(floor(epoch({_NOW})) AS BIGINT)",
        1: "CAST(floor(epoch(CAST(_0 AS TIMESTAMP))) AS BIGINT)",
    },
    "weekday": {1: "isodow(CAST(_0 AS DATE)) - 1"},
    "locate": {2: "instr(_1, _0)"},
    "json_unquote": {1: "_0 ->> '$'"},
    "json_length": {
        1: "CASE json_type(_0) WHEN 'ARRAY' THEN json_array_length(_0) "
        "WHEN 'OBJECT' THEN len(json_keys(_0)) ELSE 1 END"
    },
    "json_exists_path": {2: "json_exists(_0, _1)"},
    **{name: {2: "_0 -> _1"} for name in ("json_extract", "jsonb_extract")},
    **{
        name: {2: "_0 ->> _1"}
        for name in ("get_json_string", "json_extract_string", "jsonb_extract_string")
    },
    **{
        name: {2: f"TRY_CAST(_0 ->> _1 AS {kind})"}
        for kind, names in {
            "INTEGER": ("get_json_int", "json_extract_int", "jsonb_extract_int"),
            "BIGINT": ("get_json_bigint", "json_extract_bigint", "jsonb_extract_bigint"),
            "DOUBLE": ("get_json_double", "json_extract_double", "jsonb_extract_double"),
            "BOOLEAN": ("json_extract_bool", "jsonb_extract_bool"),
        }.items()
        for name in names
    },
    **{
        f"{unit}s_diff": {2: _SPAN.format(unit)}
        for unit in ("second", "minute", "hour", "day", "month", "year")
    },
}
"""Functions by name: DuckDB's expression for each number of arguments."""


class Unknown(Exception):
    """What this subset does not do, as the subject of a sentence."""


def rewrite(node: exp.Expr) -> exp.Expr:
    """Return what stands for a node in DuckDB; its children have been rewritten."""
    match node:
        case exp.Anonymous():
            return _filled(FUNCTIONS[str(node.this).lower()][len(node.expressions)],
                           *node.expressions)  # fmt: skip
        case exp.CurrentTimestamp() | exp.UtcTimestamp():
            return _filled(FUNCTIONS["now"][0])
        case exp.CurrentDate():
            return _filled(f"CAST({_NOW} AS DATE)")
        case exp.UnixToTime():
            template = "strftime(make_timestamp(CAST(_0 AS BIGINT) * 1000000), '%Y-%m-%d %H:%M:%S')"
            return _filled(template, node.this)
        case exp.DayOfWeek():
            return _filled("dayofweek(_0) + 1", node.this)
        case exp.Quarter() | exp.LastDay() if not isinstance(node.this, exp.Cast):
            name = "quarter" if isinstance(node, exp.Quarter) else "last_day"
            return _filled(f"{name}(CAST(_0 AS DATE))", node.this)
        case exp.Hour() | exp.Minute() | exp.Second():
            return _filled(f"{node.key}(CAST(_0 AS TIMESTAMP))", node.this)
        case exp.SubstringIndex():
            return _filled(_PARTS, node.this, node.args["delimiter"], node.args["count"])
        case exp.DateAdd() | exp.DateSub() | exp.Add() | exp.Sub() if _is_date(node):
            return _filled("CAST(_0 AS DATE)", node)
        case exp.TimestampDiff():
            unit = (node.text("unit") or "day").lower()
            return _filled(_SPAN.format(unit), node.this, node.expression)
        case exp.DateDiff():
            return _filled(
                "date_diff('day', CAST(_1 AS DATE), CAST(_0 AS DATE))", node.this, node.expression
            )
        case exp.Length() if node.args.get("binary"):
            return _filled("strlen(_0)", node.this)
        case exp.RegexpExtract():
            group = node.args.get("position") or exp.Literal.number(0)
            return _filled("regexp_extract(_0, _1, _2)", node.this, node.expression, group)
        case exp.Like() if not isinstance(node.parent, exp.Escape):
            return _like(node)
        case exp.Cast():
            return _cast(node)
        case exp.GroupConcat():
            return _group_concat(node)
    return node


def _filled(template: str, *arguments: exp.Expr) -> exp.Expr:
    tree = sqlglot.parse_one(template, read="duckdb")
    for place in list(tree.find_all(exp.Column)):
        argument = exp.paren(arguments[int(place.name[1:])].copy(), copy=False)
        if place is tree:
            return argument
        place.replace(argument)
    return exp.paren(tree, copy=False) if isinstance(tree, exp.Binary) else tree


_DATE_COLUMNS: Final = frozenset(
    column.name for table in TABLES for column in table.columns if column.type == "DATE"
)
_DATE_UNITS: Final = {"DAY", "WEEK", "MONTH", "QUARTER", "YEAR"}


def _is_date(node: exp.Expr) -> bool:
    """Whether a sum or difference of a date and days, months or years is a DATE."""
    value, other = node.this, node.expression
    unit = node.args.get("unit") or (isinstance(other, exp.Interval) and other.args.get("unit"))
    if not unit or unit.name.upper() not in _DATE_UNITS:
        return False
    match value:
        case exp.Column():
            return value.name in _DATE_COLUMNS
        case exp.Literal():
            return re.fullmatch(r"\d{4}-\d\d-\d\d", str(value.this)) is not None
        case exp.Cast():
            return value.to.sql() == "DATE"
    return isinstance(value, exp.TsOrDsToDate | exp.LastDay)


def _like(node: exp.Like) -> exp.Expr:
    # The backslash escapes in Doris unless told otherwise, and never in DuckDB.
    pattern = node.expression
    if isinstance(pattern, exp.Literal) and "\\" not in str(pattern.this):
        return node
    return exp.Escape(this=node.copy(), expression=exp.Literal.string("\\"))


def _cast(node: exp.Cast) -> exp.Expr:
    value, kind = node.this, node.to.sql("duckdb")
    if node.to.this.name not in _WHOLE:
        return exp.TryCast(this=value.copy(), to=node.to.copy())
    return _filled(
        f"CASE WHEN typeof(_0) IN ('DOUBLE', 'FLOAT') OR typeof(_0) LIKE 'DECIMAL%' "
        f"THEN TRY_CAST(trunc(TRY_CAST(_0 AS DOUBLE)) AS {kind}) ELSE TRY_CAST(_0 AS {kind}) END",
        value,
    )


def _group_concat(node: exp.GroupConcat) -> exp.Expr:
    """``group_concat([DISTINCT] text [, separator] [ORDER BY ...])``.

    The parser takes the separator for a second thing to count as distinct, and
    hangs the order on whatever came last.
    """
    value, separator, order = node.this, node.args.get("separator"), None
    if isinstance(value, exp.Order):
        order, value = value, value.this
    if isinstance(separator, exp.Order):
        order, separator = separator, separator.this
    distinct = isinstance(value, exp.Distinct)
    if distinct:
        value, *rest = value.expressions
        separator = rest[0] if rest else None
    if separator is None:
        raise Unknown("group_concat without a separator, whose default differs between releases,")
    text = exp.TryCast(this=value.copy(), to=exp.DataType.build("text"))
    first: exp.Expr = exp.Distinct(expressions=[text]) if distinct else text
    last = separator.copy()
    if order is not None:
        last = exp.Order(this=last, expressions=[one.copy() for one in order.expressions])
    return exp.Anonymous(this="string_agg", expressions=[first, last])

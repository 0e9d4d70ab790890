# ruff: noqa: S608  every part is a constant of this package; values are parameters
"""A `Query` as one SQL statement and its parameters: pure.

The statement finds a page of rows, and looks up what the answer counts for that
page only. Input never becomes part of the text: it is chosen from constants,
and values are bound.
"""

from __future__ import annotations

from typing import Final

from functions.qido_rs.answers import columns, counts_studies
from functions.qido_rs.attributes import Level
from functions.qido_rs.conditions import conditions
from functions.qido_rs.query import Query
from pacsless.statement import Statement

_FROM: Final = {
    Level.STUDIES: "study",
    Level.SERIES: "series JOIN study USING (tenant_id, study_instance_uid)",
    Level.INSTANCES: "instance"
    " JOIN series USING (tenant_id, study_instance_uid, series_instance_uid)"
    " JOIN study USING (tenant_id, study_instance_uid)",
}
# Of studies only what study_newest holds: what an offset skips is then not even read.
_COLUMNS: Final = {
    Level.STUDIES: "study.study_instance_uid, study.study_date, study.study_time",
    Level.SERIES: "series.study_instance_uid, series.series_instance_uid, series.series_number,"
    " CAST(series.attributes AS text) AS series_attributes,"
    " series.instances AS series_instances",
    Level.INSTANCES: "instance.study_instance_uid, instance.series_instance_uid,"
    " instance.sop_instance_uid, instance.sop_class_uid, instance.instance_number,"
    " series.series_number, CAST(series.attributes AS text) AS series_attributes,"
    " series.instances AS series_instances",
}


def build(query: Query, tenant_id: str) -> Statement:
    """Write the statement of a search.

    Its rows are what `answers` makes answers of. There is one more than
    `Query.limit` if there are more results.

    Parameters
    ----------
    query
        The search.
    tenant_id
        Whose rows it sees.
    """
    statement = Statement(parameters={"tenant": tenant_id})
    table = _FROM[query.level].split()[0]
    where = [f"{table}.tenant_id = :tenant"]
    if query.study:
        where.append(f"{table}.study_instance_uid = {statement.bind(query.study)}")
    if query.series:
        where.append(f"{table}.series_instance_uid = {statement.bind(query.series)}")
    where += conditions(query, statement)
    order = _order(query)
    statement.text = f"""
WITH page AS MATERIALIZED (
    SELECT {_COLUMNS[query.level]}
    FROM {_FROM[query.level]}
    WHERE {" AND ".join(where)}
    ORDER BY {order.format(**_TABLES)}
    LIMIT {statement.bind(query.limit + 1)} OFFSET {statement.bind(query.offset)}
), described AS (
    SELECT study_instance_uid, CAST(attributes AS text) AS study_attributes,
        array_to_string(modalities, '\\') AS modalities
    FROM study WHERE tenant_id = :tenant
){_COUNTS if counts_studies(query) else ""}
SELECT {", ".join(columns(query))}
FROM page{_joins(query)}
ORDER BY {order.format(**_PAGE)}
"""
    return statement


_TABLES: Final = {"study": "study", "series": "series", "instance": "instance"}
_PAGE: Final = {"study": "page", "series": "page", "instance": "page"}


def _order(query: Query) -> str:
    """A total order, so that pages neither overlap nor leave gaps (PS3.18 §8.3.4.4.1)."""
    match query.level:
        case Level.STUDIES:
            return (
                "{study}.study_date DESC NULLS LAST, {study}.study_time DESC NULLS LAST,"
                " {study}.study_instance_uid"
            )
        case Level.SERIES if query.study:
            return "{series}.series_number, {series}.series_instance_uid"
        case Level.SERIES:
            return "{series}.study_instance_uid, {series}.series_instance_uid"
        case _ if query.study:
            return (
                "{series}.series_number, {instance}.series_instance_uid,"
                " {instance}.instance_number, {instance}.sop_instance_uid"
            )
        case _:
            return (
                "{instance}.study_instance_uid, {instance}.series_instance_uid,"
                " {instance}.sop_instance_uid"
            )


_COUNTS: Final = """, studies AS (
    SELECT study_instance_uid, count(*) AS study_series,
        CAST(sum(instances) AS bigint) AS study_instances
    FROM series
    WHERE tenant_id = :tenant
      AND study_instance_uid IN (SELECT study_instance_uid FROM page)
    GROUP BY study_instance_uid
)"""


def _joins(query: Query) -> str:
    text = " JOIN described USING (study_instance_uid)"
    if counts_studies(query):
        text += " JOIN studies USING (study_instance_uid)"
    return text

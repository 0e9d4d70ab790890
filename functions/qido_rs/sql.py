# ruff: noqa: S608  every part is a constant of this package; values are parameters
"""A `Query` as one SQL statement and its parameters: pure.

The statement finds a page of rows, counts what the answer counts for that page
only, and puts each answer together as DICOM JSON text, so that a study list
passes through Python without being parsed. Input never becomes part of the
text: it is chosen from constants, and values are bound.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from functions.qido_rs.attributes import (
    IF_KNOWN,
    REQUIRED,
    STORED,
    Level,
)
from functions.qido_rs.conditions import Statement, conditions
from functions.qido_rs.query import Query

MODALITIES_IN_STUDY: Final = "00080061"
STUDY_SERIES: Final = "00201206"
STUDY_INSTANCES: Final = "00201208"
SERIES_INSTANCES: Final = "00201209"
_STUDY_COMPUTED: Final = frozenset({MODALITIES_IN_STUDY, STUDY_SERIES, STUDY_INSTANCES})
_STUDY_UID, _SERIES_UID = "0020000D", "0020000E"

_FROM: Final = {
    Level.STUDIES: "study",
    Level.SERIES: "series JOIN study USING (tenant_id, study_instance_uid)",
    Level.INSTANCES: "instance"
    " JOIN series USING (tenant_id, study_instance_uid, series_instance_uid)"
    " JOIN study USING (tenant_id, study_instance_uid)",
}
_COLUMNS: Final = {
    Level.STUDIES: "study.study_instance_uid, study.study_date, study.study_time,"
    " study.attributes AS study_attributes",
    Level.SERIES: "series.study_instance_uid, series.series_instance_uid, series.series_number,"
    " study.attributes AS study_attributes, series.attributes AS series_attributes",
    Level.INSTANCES: "instance.study_instance_uid, instance.series_instance_uid,"
    " instance.sop_instance_uid, instance.sop_class_uid, instance.instance_number,"
    " series.series_number, study.attributes AS study_attributes,"
    " series.attributes AS series_attributes",
}


def build(query: Query, tenant_id: str, base_url: str) -> Statement:
    """Write the statement of a search.

    Its rows are one column of DICOM JSON text; instances have Study, Series and
    SOP Instance UID before it. There is one row more than `Query.limit` if
    there are more results.

    Parameters
    ----------
    query
        The search.
    tenant_id
        Whose rows it sees.
    base_url
        What RetrieveURL starts with.
    """
    statement = Statement(parameters={"tenant": tenant_id, "base": base_url})
    table = _FROM[query.level].split()[0]
    where = [f"{table}.tenant_id = :tenant"]
    if query.study:
        where.append(f"{table}.study_instance_uid = {statement.bind(query.study)}")
    if query.series:
        where.append(f"{table}.series_instance_uid = {statement.bind(query.series)}")
    where += conditions(query.matches, statement)
    order = _order(query)
    statement.text = f"""
WITH page AS MATERIALIZED (
    SELECT {_COLUMNS[query.level]}
    FROM {_FROM[query.level]}
    WHERE {" AND ".join(where)}
    ORDER BY {order.format(**_TABLES)}
    LIMIT {statement.bind(query.limit + 1)} OFFSET {statement.bind(query.offset)}
){_counts(query)}
SELECT {_answer(query, statement)}
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


def _study_computed(query: Query) -> frozenset[str]:
    """Study-level attributes that are counted for this answer.

    All Series and All Instances answer with their study's attributes (PS3.18
    §10.6.3.3.2, §10.6.3.3.3); below a study they come when asked for.
    """
    if not query.study or query.level is Level.STUDIES:
        return _STUDY_COMPUTED
    return _STUDY_COMPUTED & query.shown


def _series_counted(query: Query) -> bool:
    return query.level is Level.SERIES or (
        query.level is Level.INSTANCES and (not query.series or SERIES_INSTANCES in query.shown)
    )


def _counts(query: Query) -> str:
    text = ""
    if _study_computed(query):
        text += """, studies AS (
    SELECT one.study_instance_uid, of_series.modalities, of_series.study_series,
        (SELECT count(*) FROM instance AS i
         WHERE i.tenant_id = :tenant AND i.study_instance_uid = one.study_instance_uid)
            AS study_instances
    FROM (SELECT DISTINCT study_instance_uid FROM page) AS one
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(DISTINCT modality) FILTER (WHERE modality <> '') AS modalities,
            count(*) AS study_series
        FROM series AS s
        WHERE s.tenant_id = :tenant AND s.study_instance_uid = one.study_instance_uid
    ) AS of_series
)"""
    if _series_counted(query):
        text += """, counted AS (
    SELECT study_instance_uid, series_instance_uid,
        (SELECT count(*) FROM instance AS i
         WHERE i.tenant_id = :tenant AND i.study_instance_uid = one.study_instance_uid
           AND i.series_instance_uid = one.series_instance_uid) AS series_instances
    FROM (SELECT DISTINCT study_instance_uid, series_instance_uid FROM page) AS one
)"""
    return text


def _joins(query: Query) -> str:
    text = " JOIN studies USING (study_instance_uid)" if _study_computed(query) else ""
    if _series_counted(query):
        text += " JOIN counted USING (study_instance_uid, series_instance_uid)"
    return text


def _answer(query: Query, statement: Statement) -> str:
    """The select list: each answer as DICOM JSON, its attributes in the order of their tags."""
    path = "'/studies/' || page.study_instance_uid"
    empty: dict[str, str] = dict(REQUIRED[query.level])
    shown = {Level.STUDIES: {_STUDY_UID} | query.shown, Level.SERIES: {_SERIES_UID} | query.shown}
    if query.level is not Level.STUDIES and not query.study:
        empty |= REQUIRED[Level.STUDIES]
        shown[Level.STUDIES] |= set(REQUIRED[Level.STUDIES]) | set(IF_KNOWN[Level.STUDIES])
    if query.level is Level.INSTANCES and not query.series:
        empty |= REQUIRED[Level.SERIES]
        shown[Level.SERIES] |= set(REQUIRED[Level.SERIES]) | set(IF_KNOWN[Level.SERIES])
    if query.everything and query.level in shown:
        shown[query.level] |= STORED[query.level]
    computed = {"00080056": _value("CS", "'ONLINE'")}
    for tag, column, vr in (
        (STUDY_SERIES, "study_series", "IS"),
        (STUDY_INSTANCES, "study_instances", "IS"),
    ):
        if tag in _study_computed(query):
            computed[tag] = _value(vr, column)
    # Left out rather than empty when no series states a modality: the study list
    # of OHIF 3.13 fails as a whole on one study with an element without a Value.
    empty.pop(MODALITIES_IN_STUDY, None)
    if _series_counted(query):
        computed[SERIES_INSTANCES] = _value("IS", "series_instances")
    without_values = json.dumps({tag: {"vr": vr} for tag, vr in empty.items()})
    parts = [
        f"CAST({statement.bind(without_values)} AS jsonb)",
        _visible("study_attributes", Level.STUDIES, shown, statement),
    ]
    columns = ""
    if query.level is not Level.STUDIES:
        path += " || '/series/' || page.series_instance_uid"
        parts.append(_visible("series_attributes", Level.SERIES, shown, statement))
    if query.level is Level.INSTANCES:
        path += " || '/instances/' || page.sop_instance_uid"
        columns = "page.study_instance_uid, page.series_instance_uid, page.sop_instance_uid, "
        computed |= {
            "00080016": _value("UI", "sop_class_uid"),
            "00080018": _value("UI", "sop_instance_uid"),
            "00200013": "CASE WHEN instance_number IS NULL THEN jsonb_build_object('vr', 'IS')"
            f" ELSE {_value('IS', 'instance_number')} END",
        }
    computed["00081190"] = _value("UR", f":base || {path}")
    built = ", ".join(f"'{tag}', {text}" for tag, text in sorted(computed.items()))
    parts.append(f"jsonb_build_object({built})")
    if MODALITIES_IN_STUDY in _study_computed(query):
        parts.append(
            f"CASE WHEN modalities IS NULL THEN CAST('{{}}' AS jsonb) ELSE jsonb_build_object("
            f"'{MODALITIES_IN_STUDY}', jsonb_build_object('vr', 'CS', 'Value', modalities)) END"
        )
    return f"{columns}CAST({' || '.join(parts)} AS text)"


def _visible(
    column: str, level: Level, shown: Mapping[Level, set[str]], statement: Statement
) -> str:
    hidden = sorted(STORED[level] - shown[level])
    return (
        f"(page.{column} - CAST({statement.bind(hidden)} AS text[]))"
        if hidden
        else (f"page.{column}")
    )


def _value(vr: str, expression: str) -> str:
    return f"jsonb_build_object('vr', '{vr}', 'Value', jsonb_build_array({expression}))"

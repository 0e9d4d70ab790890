# ruff: noqa: S608  every part is a constant of this package; values are parameters
"""Matches as SQL conditions: pure. Tables go by their own names."""

from __future__ import annotations

from functions.qido_rs.attributes import Kind
from functions.qido_rs.instants import instants
from functions.qido_rs.items import item_conditions, stored_condition, text_condition
from functions.qido_rs.query import Query
from functions.qido_rs.values import Match
from pacsless.person_names import name_condition, no_name
from pacsless.statement import Statement

_MOMENTS = (Kind.DATE, Kind.TIME)


def conditions(query: Query, statement: Statement) -> list[str]:
    """What rows have to fulfil."""
    of_moments = [one for one in query.matches if one.key.kind in _MOMENTS]
    of_items = [one for one in query.matches if one.key.kind is Kind.ITEM]
    return [
        *(
            _condition(one, statement)
            for one in query.matches
            if one not in of_moments and one not in of_items
        ),
        *instants(of_moments, query.timezone, statement),
        *item_conditions(of_items, statement),
    ]


def _condition(match: Match, statement: Statement) -> str:
    column = match.key.column
    match match.key.kind:
        case Kind.NAME:
            if match.empty:
                return no_name(column)
            return name_condition(column, match.groups, statement, match.words)
        case Kind.MODALITIES:
            if match.empty:
                return f"{column} = '{{}}'"
            if match.like:
                wanted = text_condition("one.modality", match, statement)
                return f"EXISTS (SELECT FROM unnest({column}) AS one(modality) WHERE {wanted})"
            return f"{column} && CAST({statement.bind(list(match.any_of))} AS text[])"
        case Kind.PATIENT_ID:
            # A study with conflicting Patient IDs is found under each of them. A
            # partial index holds the few there are; asked for once, as an array
            # and not per row, they leave the planner the index on patient_id.
            return (
                f"({text_condition(column, match, statement)}"
                " OR study.study_instance_uid = ANY (ARRAY("
                "SELECT conflict.study_instance_uid FROM study AS conflict,"
                " unnest(conflict.patient_ids) AS stated(id)"
                " WHERE conflict.tenant_id = :tenant AND cardinality(conflict.patient_ids) > 1"
                f" AND {text_condition('stated.id', match, statement)})))"
            )
        case Kind.NUMBER:
            if match.empty:
                return f"{column} IS NULL"
            return f"{column} = CAST({statement.bind(match.any_of[0])} AS bigint)"
        case Kind.STORED | Kind.STORED_DATE | Kind.SEQUENCE:
            return stored_condition(column, match, statement)
        case _:
            return text_condition(column, match, statement)

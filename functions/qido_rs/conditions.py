# ruff: noqa: S608  every part is a constant of this package; values are parameters
"""Matches as SQL conditions: pure. Input is bound, never written into the text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from functions.qido_rs.attributes import REQUEST_ATTRIBUTES, Kind
from functions.qido_rs.query import Match


@dataclass(slots=True)
class Statement:
    """SQL and its parameters, growing."""

    text: str = ""
    parameters: dict[str, object] = field(default_factory=dict)

    def bind(self, value: object) -> str:
        """Add a parameter and return its placeholder."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"


def conditions(matches: Sequence[Match], statement: Statement) -> list[str]:
    """What rows have to fulfil; tables go by their own names."""
    return [
        *(_condition(one, statement) for one in matches if one.key.kind is not Kind.REQUEST),
        *_request([one for one in matches if one.key.kind is Kind.REQUEST], statement),
    ]


def _condition(match: Match, statement: Statement) -> str:
    column = match.key.column
    match match.key.kind:
        case Kind.NAME:
            return _name(column, match.groups, statement)
        case Kind.MODALITIES:
            return (
                "EXISTS (SELECT FROM series AS other WHERE other.tenant_id = study.tenant_id"
                " AND other.study_instance_uid = study.study_instance_uid"
                f" AND {_text('other.modality', match, statement)})"
            )
        case Kind.PATIENT_ID:
            # A study with conflicting Patient IDs is found under each of them. A
            # partial index holds the few there are; asked for once, as an array
            # and not per row, they leave the planner the index on patient_id.
            return (
                f"({_text(column, match, statement)} OR study.study_instance_uid = ANY (ARRAY("
                "SELECT conflict.study_instance_uid FROM study AS conflict,"
                " unnest(conflict.patient_ids) AS stated(id)"
                " WHERE conflict.tenant_id = :tenant AND cardinality(conflict.patient_ids) > 1"
                f" AND {_text('stated.id', match, statement)})))"
            )
        case Kind.DATE:
            return _range(column, match, statement, "date")
        case Kind.TIME:
            return _range(column, match, statement, "text")
        case Kind.NUMBER:
            return f"{column} = CAST({statement.bind(match.any_of[0])} AS bigint)"
        case Kind.STORED | Kind.STORED_DATE:
            path = f"{column} -> '{match.key.tag}' -> 'Value'"
            if match.key.kind is Kind.STORED:
                inner = _text("stored.value", match, statement)
            else:
                # ACR-NEMA's dots are stored as they came.
                inner = _range("replace(stored.value, '.', '')", match, statement, "text")
            return (
                f"EXISTS (SELECT FROM jsonb_array_elements_text({_array(path)}) AS stored(value)"
                f" WHERE {inner})"
            )
        case _:
            return _text(column, match, statement)


def _text(column: str, match: Match, statement: Statement) -> str:
    if match.like:
        return f"{column} LIKE {statement.bind(_pattern(match.like))}"
    if len(match.any_of) == 1:
        return f"{column} = {statement.bind(match.any_of[0])}"
    return f"{column} = ANY (CAST({statement.bind(list(match.any_of))} AS text[]))"


def _range(column: str, match: Match, statement: Statement, kind: str) -> str:
    parts = [
        f"{column} {operator} CAST({statement.bind(value)} AS {kind})"
        for operator, value in ((">=", match.low), ("<=", match.high))
        if value
    ]
    return f"({' AND '.join(parts)})" if parts else f"{column} IS NOT NULL"


def _name(column: str, groups: tuple[str, ...], statement: Statement) -> str:
    columns = (column, f"{column}_ideographic", f"{column}_phonetic")

    def one(name: str, pattern: str) -> str:
        if "*" in pattern or "?" in pattern:
            # Stated for the partial indexes: no pattern here matches nothing.
            return f"({name} <> '' AND {name} LIKE {statement.bind(_pattern(pattern))})"
        return f"{name} = {statement.bind(pattern)}"

    if len(groups) == 1:
        return f"({' OR '.join(one(name, groups[0]) for name in columns)})"
    stated = [
        one(name, pattern)
        for name, pattern in zip(columns, groups, strict=False)
        if pattern.strip("*")
    ]
    return f"({' AND '.join(stated)})" if stated else "true"


def _request(matches: list[Match], statement: Statement) -> list[str]:
    """Sequence matching (PS3.4 §C.2.2.2.6): one item has to match every key."""
    if not matches:
        return []
    path = f"series.attributes -> '{REQUEST_ATTRIBUTES}'"
    exact = {one.key.tag: {"Value": [one.any_of[0]]} for one in matches if one.any_of}
    found = [f"series.attributes ? '{REQUEST_ATTRIBUTES}'"]
    if exact:
        item = json.dumps({"Value": [exact]})
        found.append(f"{path} @> CAST({statement.bind(item)} AS jsonb)")
    if wild := [one for one in matches if one.like]:
        inner = [f"item @> CAST({statement.bind(json.dumps(exact))} AS jsonb)"]
        inner += [
            f"item #>> '{{{one.key.tag},Value,0}}' LIKE {statement.bind(_pattern(one.like))}"
            for one in wild
        ]
        value = f"{path} -> 'Value'"
        found.append(
            f"EXISTS (SELECT FROM jsonb_array_elements({_array(value)}) AS item"
            f" WHERE {' AND '.join(inner)})"
        )
    return found


def _array(path: str) -> str:
    return f"CASE jsonb_typeof({path}) WHEN 'array' THEN {path} ELSE '[]' END"


def _pattern(text: str) -> str:
    """A DICOM wild card as LIKE's, whose own characters stand for themselves."""
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    while "**" in text:
        text = text.replace("**", "*")
    return text.replace("*", "%").replace("?", "_")

"""Stored DICOM JSON as SQL conditions: attributes without a column, and sequences. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from functions.qido_rs.instants import between
from pacsless.statement import Statement, like_pattern

if TYPE_CHECKING:
    from functions.qido_rs.values import Match


def text_condition(column: str, match: Match, statement: Statement) -> str:
    """Compare a text: one value, one of several, a pattern, or none."""
    if match.empty:
        return f"{column} = ''"
    if match.like:
        return f"{column} LIKE {statement.bind(like_pattern(match.like))}"
    if len(match.any_of) == 1:
        return f"{column} = {statement.bind(match.any_of[0])}"
    return f"{column} = ANY (CAST({statement.bind(list(match.any_of))} AS text[]))"


def stored_condition(attributes: str, match: Match, statement: Statement) -> str:
    """Compare any value of an attribute in a JSON object."""
    if match.empty:
        return f"COALESCE({attributes} #>> '{{{match.key.tag},Value,0}}', '') = ''"
    if match.low or match.high:
        # ACR-NEMA's dots are stored as they came.
        inner = between("replace(stored.value, '.', '')", match, statement, "text")
    else:
        inner = text_condition("stored.value", match, statement)
    values = _values(f"{attributes} -> '{match.key.tag}'")
    return (
        f"EXISTS (SELECT FROM jsonb_array_elements_text({values}) AS stored(value) WHERE {inner})"
    )


def item_conditions(matches: Sequence[Match], statement: Statement) -> list[str]:
    """Sequence matching (PS3.4 §C.2.2.2.6): one item has to match every key of its sequence."""
    by_column: dict[str, list[Match]] = {}
    for one in matches:
        by_column.setdefault(one.key.column, []).append(one)
    return [
        condition
        for column, group in by_column.items()
        for condition in _sequences(column, group, 0, statement)
    ]


def _sequences(
    attributes: str, matches: Sequence[Match], depth: int, statement: Statement
) -> list[str]:
    """Conditions on a JSON object whose sequences at this depth the matches are in."""
    by_tag: dict[str, list[Match]] = {}
    for one in matches:
        by_tag.setdefault(one.key.sequences[depth], []).append(one)
    found = []
    for tag, group in by_tag.items():
        sequence = f"{attributes} -> '{tag}'"
        here = [one for one in group if len(one.key.sequences) == depth + 1]
        deeper = [one for one in group if one not in here]
        item = f"item{depth}.value"
        inner = [stored_condition(item, one, statement) for one in here]
        inner += _sequences(item, deeper, depth + 1, statement)
        if depth == 0:
            found.append(f"{attributes} ? '{tag}'")
            # Containment is what an index serves; of several values, it would ask for all.
            single = [one for one in here if len(one.any_of) == 1]
            if exact := {one.key.tag: {"Value": list(one.any_of)} for one in single}:
                contained = statement.bind(json.dumps({"Value": [exact]}))
                found.append(f"{sequence} @> CAST({contained} AS jsonb)")
        found.append(
            f"EXISTS (SELECT FROM jsonb_array_elements({_values(sequence)}) AS item{depth}(value)"
            f" WHERE {' AND '.join(inner)})"
        )
    return found


def _values(element: str) -> str:
    path = f"{element} -> 'Value'"
    return f"CASE jsonb_typeof({path}) WHEN 'array' THEN {path} ELSE '[]' END"

"""What the routes of QIDO-RS can, for those who ask: what a query may have (PS3.18 §8.3.4)."""

from __future__ import annotations

from typing import Final

from functions.qido_rs.attributes import KEYS, Kind, Level, keyword_of
from functions.qido_rs.query import MOST_ANYWHERE, MOST_WITHIN_STUDY, SEMANTICS
from pacsless.capabilities import ACCEPT, DICOM_JSON, Capability, Parameter
from pacsless.representations import ATTRIBUTES

_SEMANTICS: Final = {
    "fuzzymatching": "Whether names match by words that begin alike or sound alike, too.",
    "emptyvaluematching": 'Whether "" matches what has no value.',
    "multiplevaluematching": "Whether values with \\ between them all have to be there.",
}
_OTHERS: Final = (
    Parameter(
        "includefield",
        "Attributes the answer has, too: keywords or tags with commas between them, or all.",
        {"type": "string"},
    ),
    Parameter(
        "limit",
        f"Results at most; never more than {MOST_ANYWHERE:,}, below a study {MOST_WITHIN_STUDY:,}.",
        {"type": "integer", "minimum": 0},
    ),
    Parameter("offset", "Results to skip.", {"type": "integer", "minimum": 0, "default": 0}),
    *(
        Parameter(name, _SEMANTICS[name], {"type": "boolean", "default": False})
        for name in SEMANTICS
    ),
    ACCEPT,
)


def searching(summary: str, level: Level) -> Capability:
    """A search for what there is at a level."""
    return Capability(summary, ATTRIBUTES, _parameters(level), (204, 406, 413), DICOM_JSON)


def _parameters(level: Level) -> tuple[Parameter, ...]:
    """Matching keys of a level and those above it, and what else a search takes."""
    in_items = {path[9:] for path in KEYS if "." in path}
    keys = (
        Parameter(
            ".".join(map(keyword_of, path.split("."))),
            f"Matching key of {key.level.value}: {key.kind.value}.",
            {"type": "string"},
        )
        for path, key in KEYS.items()
        # Such a one is taken bare as well, from clients of before 2019; it is not for new ones.
        # A sequence itself is matched only for having no item.
        if path not in in_items and key.kind is not Kind.SEQUENCE and key.level.depth <= level.depth
    )
    return (*sorted(keys, key=lambda one: one.name), *_OTHERS)

"""What the query component of a search may have, for those who ask (PS3.18 §8.3.4)."""

from __future__ import annotations

from typing import Final

from functions.qido_rs.attributes import KEYS, Level, keyword_of
from functions.qido_rs.query import MOST_ANYWHERE, MOST_WITHIN_STUDY, UNSUPPORTED
from pacsless.capabilities import ACCEPT, Parameter

_LEVELS: Final = tuple(Level)
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
        Parameter(name, f"If true: {said}", {"type": "boolean", "default": False})
        for name, said in UNSUPPORTED.items()
    ),
    ACCEPT,
)


def parameters(level: Level) -> tuple[Parameter, ...]:
    """Matching keys of a level and those above it, and what else a search takes."""
    depth = _LEVELS.index(level)
    in_items = {path[9:] for path in KEYS if "." in path}
    keys = (
        Parameter(
            ".".join(map(keyword_of, path.split("."))),
            f"Matching key of {key.level.value}: {key.kind.value}.",
            {"type": "string"},
        )
        for path, key in KEYS.items()
        # Such a one is taken bare as well, from clients of before 2019; it is not for new ones.
        if path not in in_items and _LEVELS.index(key.level) <= depth
    )
    return (*sorted(keys, key=lambda one: one.name), *_OTHERS)

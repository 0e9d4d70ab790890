"""Person names as SQL conditions: pure.

The index has of each name the lexemes that ``name_words`` of schemas/postgres
makes: ``^`` and a word, every ending of a word, ``~`` and what a word sounds
like. Asking for those finds every name that can match, of whatever part a
client has written; the names themselves are compared then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pacsless.statement import Statement, like_pattern

_DIVIDERS: Final = r" ^=.,\\'’·\-"
"""As ``name_words`` has them."""
_DIVIDER: Final = re.compile(rf"[{_DIVIDERS}]")
_PIECE: Final = re.compile(rf"[{_DIVIDERS}]+|[*?]+|[^*?{_DIVIDERS}]+")
_LONGEST: Final = 32
"""Characters of a lexeme, as ``name_words`` cuts them."""


def words_of(groups: Sequence[str]) -> tuple[str, ...]:
    """Words of a name or a pattern of one, without wild cards.

    Examples
    --------
    >>> words_of(["müller-lüd*^hans", "山田"])
    ('müller', 'lüd', 'hans', '山田')
    """
    return tuple(
        one[:_LONGEST] for group in groups for one in re.split(rf"[*?{_DIVIDERS}]+", group) if one
    )


def lexemes(pattern: str) -> list[str]:
    """Say in the language of tsquery what a name that matches a pattern has.

    Examples
    --------
    >>> lexemes("doe^j*n?"), lexemes("*田太*"), lexemes("*")
    (["'^doe'", "'^j':*", "'n':*"], ["'田太':*"], [])
    """
    found = []
    pieces = ["^", *_PIECE.findall(pattern), "^"]
    for before, piece, after in zip(pieces, pieces[1:], pieces[2:], strict=False):
        if piece[0] in "*?" or _DIVIDER.match(piece):
            continue
        begins = bool(_DIVIDER.match(before))
        whole = begins and _DIVIDER.match(after) and len(piece) <= _LONGEST
        found.append(f"'{'^' * begins}{piece[:_LONGEST]}'{'' if whole else ':*'}")
    return found


def name_condition(
    column: str, groups: Sequence[str], statement: Statement, words: Sequence[str] = ()
) -> str:
    """Compare a name, literally and with wild cards, and by its words if there are any.

    Parameters
    ----------
    column
        The one of the first component group.
    groups
        Patterns of component groups, folded as the index has them; a single one may
        match any group.
    statement
        What the condition is for.
    words
        Those of which each may match alone, for Fuzzy Matching.
    """
    columns = (column, f"{column}_ideographic", f"{column}_phonetic")

    def one(name: str, pattern: str) -> str:
        if "*" in pattern or "?" in pattern:
            # No pattern matches a component group that is not there.
            return f"({name} <> '' AND {name} LIKE {statement.bind(like_pattern(pattern))})"
        return f"{name} = {statement.bind(pattern)}"

    if len(groups) == 1:
        compared = " OR ".join(one(name, groups[0]) for name in columns)
    else:
        stated = [
            one(name, pattern)
            for name, pattern in zip(columns, groups, strict=False)
            if pattern.strip("*")
        ]
        compared = " AND ".join(stated) or "true"
    if parts := [part for group in groups for part in lexemes(group)]:
        # CASE, or the planner would take the two for independent of each other,
        # expect next to nothing, and read and sort all names of a common surname.
        asked = statement.bind(" & ".join(parts))
        compared = (
            f"{column}_words @@ CAST({asked} AS tsquery)"
            f" AND CASE WHEN {compared} THEN true ELSE false END"
        )
    if words:
        alike = f"name_alike(CAST({statement.bind(list(words))} AS text[]))"
        return f"({compared} OR {column}_words @@ {alike})"
    return f"({compared})"


def no_name(column: str) -> str:
    """Ask for those who have no name in any component group."""
    columns = (column, f"{column}_ideographic", f"{column}_phonetic")
    return " AND ".join(f"{one} = ''" for one in columns)

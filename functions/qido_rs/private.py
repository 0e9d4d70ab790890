"""Private data elements in an answer: pure."""

from __future__ import annotations

from collections.abc import Sequence

from functions.qido_rs.query import Private
from pacsless.events import Json


def with_private(shown: Json, stated: Json, private: Sequence[Private]) -> Json:
    """Add what is asked for, each with its Private Creator element (PS3.18 §10.6.3.3).

    Parameters
    ----------
    shown
        The answer so far, which is not changed.
    stated
        All attributes of the instance.
    private
        What is asked for. Which block a creator has is each instance's own
        choice (PS3.5 §7.8.1), so the block that was asked for counts only if
        no creator was.
    """
    found = dict(shown)
    for one in private:
        for block in _blocks(stated, one) if one.creator else [one.block]:
            tag = f"{one.group}{block}{one.element}"
            if tag in stated:
                creator = f"{one.group}00{block}"
                found |= {each: stated[each] for each in (creator, tag) if each in stated}
    return found


def _blocks(stated: Json, one: Private) -> list[str]:
    return [
        tag[6:]
        for tag, element in stated.items()
        if tag.startswith(f"{one.group}00") and one.creator in element.get("Value", ())
    ]

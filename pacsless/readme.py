"""The README's table of functions, made from their declarations.

``python -m pacsless.readme README.md`` writes it between its two markers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pacsless.functions import FunctionSpec, load_functions

BEGIN: Final = "<!-- functions: made by `make docs` -->"
END: Final = "<!-- /functions -->"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def table(functions: Iterable[FunctionSpec]) -> str:
    """Return the functions as a Markdown table."""
    rows = []
    for one in functions:
        trigger = ", ".join(f"`{topic}`" for topic in one.topics) or "HTTP, behind nginx"
        if one.schedule is not None:
            trigger = f"timer, `{one.schedule}`"
        if one.kind == "authorization":
            trigger = "HTTP, asked by nginx if OAuth2 is on"
        emits = ", ".join(f"`{topic}`" for topic in one.emitted_topics) or "–"
        link = f"[`{one.name}`](functions/{one.name})"
        rows.append((link, trigger, one.reads or "–", one.writes or "–", emits))
    return markdown(("function", "triggered by", "reads", "writes", "emits to"), rows)


def fill(text: str, made: str, begin: str = BEGIN, end: str = END) -> str:
    """Put `made` between two markers of `text`.

    Raises
    ------
    ValueError
        If a marker is missing.
    """
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the text needs the lines {begin} and {end}")
    return f"{before}{begin}\n{made}\n{end}{after}"


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(fill(document.read_text(), table(load_functions().values())))

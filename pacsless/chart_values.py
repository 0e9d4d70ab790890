"""The table of the Helm chart's values in docs/install.md, made from their comments.

``python -m pacsless.chart_values docs/install.md`` writes it between its two markers. It
reads charts/pacsless/values.yaml and profiles by their lines: a comment that begins with
``--`` is about the key after it, which may itself be a comment, if profiles set it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pacsless.readme import fill, markdown

CHART: Final = Path(__file__).resolve().parents[1] / "charts" / "pacsless"
PROFILES: Final = ("local", "hospital", "production")
BEGIN: Final = "<!-- values: made by `make docs` -->"
END: Final = "<!-- /values -->"

_KEY: Final = re.compile(r"(?P<indent> *)(?:# )?(?P<key>[A-Za-z][A-Za-z0-9]*):(?: (?P<value>.*))?")
_ABOUT: Final = re.compile(r" *# -- (?P<text>.*)")
_BY_PROFILE: Final = "by profile"


def values(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Read a file of values.

    Yields
    ------
    tuple of str
        Path of each key, its value as it is written, and what its comment says.
    """
    path: list[str] = []
    about = ""
    for line in lines:
        if found := _ABOUT.fullmatch(line):
            about = found["text"]
        elif (found := _KEY.fullmatch(line)) and (about or not line.lstrip().startswith("#")):
            path[len(found["indent"]) // 2 :] = [found["key"]]
            yield ".".join(path), found["value"] or "", about
            about = ""


def table() -> str:
    """Return all values, what they are unless set, and what for, as a Markdown table."""
    profiles = [
        {path: value for path, value, _ in values(_lines(f"profiles/{one}.yaml"))}
        for one in PROFILES
    ]
    found = list(values(_lines("values.yaml")))
    rows = []
    for index, (path, value, about) in enumerate(found):
        if not about:
            continue
        below = [
            f"{key.rpartition('.')[2]}: {one}"
            for key, one, _ in found[index + 1 :]
            if key.startswith(f"{path}.")
        ]
        if value == _BY_PROFILE:
            told = [one.get(path) or _nested(path, one) for one in profiles]
            default = " / ".join(f"`{one}`" for one in told)
            default = f"`{told[0]}`" if len(set(told)) == 1 else default
        else:
            default = f"`{value}`" if value and value != '""' else ""
            default = default or (f"`{'; '.join(below)}`" if below else "–")
        rows.append((f"`{path}`", default, about.replace("|", "\\|")))
    return markdown(("value", "unless set", "what"), rows)


def _nested(path: str, profile: dict[str, str]) -> str:
    """Write a mapping of a profile in one line."""
    return "; ".join(
        f"{key.removeprefix(path)[1:]}: {value}"
        for key, value in profile.items()
        if key.startswith(f"{path}.")
    )


def _lines(name: str) -> list[str]:
    return (CHART / name).read_text().splitlines()


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(fill(document.read_text(), table(), BEGIN, END))

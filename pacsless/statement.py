"""SQL that grows, with its parameters: input is bound, never written into the text."""

from __future__ import annotations

from dataclasses import dataclass, field


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


def like_pattern(text: str) -> str:
    r"""Write a DICOM wild card as LIKE's, whose own characters stand for themselves.

    Examples
    --------
    >>> like_pattern("a_b*?")
    'a\\_b%_'
    """
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    while "**" in text:
        text = text.replace("**", "*")
    return text.replace("*", "%").replace("?", "_")


def is_text(value: str) -> bool:
    """Whether PostgreSQL takes a text: it has no NUL, and no half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value

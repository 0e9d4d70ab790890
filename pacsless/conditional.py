"""Conditional requests (RFC 9110 §13): an ETag, and 304 for who has that already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from pacsless.web import Request

PRIVATE: Final = {"Cache-Control": "private, no-cache"}
"""Kept by the client alone, and asked about before each use: an instance may be replaced."""


def tag_of(*about: object) -> str:
    """Return a tag of what an answer is made of, which it does not tell."""
    return hashlib.sha256(repr(about).encode()).hexdigest()[:32]


def conditional(
    request: Request, headers: Mapping[str, str], tag: str, *, weak: bool = False
) -> tuple[dict[str, str], Response | None]:
    """Return the headers of an answer, and the answer itself if the client has it already.

    Parameters
    ----------
    request
        The request, of which If-None-Match is read.
    headers
        All others.
    tag
        The opaque part of the ETag, without its quotation marks.
    weak
        Whether equal answers may differ in their bytes.
    """
    made = {**PRIVATE, **headers, "ETag": f'{"W/" if weak else ""}"{tag}"'}
    if not request.http.if_none_match.contains_weak(tag):
        return made, None
    # RFC 9110 §15.4.5: nothing about a content that is not sent.
    told = {name: value for name, value in made.items() if name != "Content-Encoding"}
    return made, Response(None, 304, told)

"""Rendered resources of what is no picture: reports, encapsulated documents, videos."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from werkzeug.wrappers import Response

from pacsless.archive import Archive
from pacsless.cache import Cache
from pacsless.conditional import conditional, tag_of
from pacsless.errors import PacslessError, Unprocessable
from pacsless.extent import VARY
from pacsless.instances import Stored
from pacsless.rendering.other import open_other, require_utf8
from pacsless.rendering.report import REPORTS
from pacsless.web import Request

_VERSION: Final = 1
"""To be raised when the same request gives another answer, as it is part of every ETag."""


def send_other(
    request: Request, archive: Archive, cache: Cache, stored: Stored, refused: PacslessError
) -> Response:
    """Send an instance that is no picture, unless it has no other form either.

    Raises
    ------
    PacslessError
        `refused`, which says why it is no picture.
    NotAcceptable
        If none of its forms is accepted.
    """
    with ExitStack() as held:
        try:
            other = open_other(archive, cache, stored)
        except Unprocessable:
            raise refused from None
        held.callback(other.file.close)
        if not other.forms:
            raise refused
        chosen = request.accepted(other.forms)
        if chosen in REPORTS:
            http = request.http
            require_utf8(http.args.get("charset") or http.headers.get("Accept-Charset", ""))
        vary = {"Vary": "Accept, Accept-Charset"} if chosen in REPORTS else VARY
        headers, current = conditional(
            request, vary, tag_of(_VERSION, stored.version, chosen.media_type)
        )
        if current:
            return current
        response = other.rendered(request, chosen, headers, cache)
        held.pop_all()  # the response closes it
        return response

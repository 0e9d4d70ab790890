"""Responses: pieces of a file, streamed."""

from __future__ import annotations

from typing import Final

from werkzeug.wrappers import Response

from functions.wado_rs.body import Extent
from pacsless.web import Request, plain

VARY: Final = {"Vary": "Accept"}


def extent_response(request: Request, body: Extent, content_type: str) -> Response:
    """Stream pieces of a file by themselves, or the range of them that is asked for.

    The file is closed with the response.
    """
    headers = {**VARY, "Accept-Ranges": "bytes"}
    total = body.length
    asked = request.http.range
    # One range only: RFC 9110 §14.2 lets a server ignore the header.
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        response = Response(body.read(), 200, headers, content_type=content_type)
        response.content_length = total
    elif (found := asked.range_for_length(total)) is None:
        body.file.close()
        return plain(
            416, "The range begins after the end.", headers | {"Content-Range": f"bytes */{total}"}
        )
    else:
        start, stop = found
        response = Response(body.read(start, stop), 206, headers, content_type=content_type)
        response.content_length = stop - start
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{total}"
    response.call_on_close(body.file.close)
    return response

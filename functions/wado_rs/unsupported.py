"""Resources of WADO-RS that are known and not supported yet."""

from __future__ import annotations

from werkzeug.wrappers import Response

from pacsless.web import Request, plain


def retrieve_rendered(_request: Request, **_resource: str) -> Response:
    """Answer for what only a decoder can make."""
    return plain(404, "Rendered resources are not supported yet.")


def retrieve_thumbnail(_request: Request, **_resource: str) -> Response:
    """Answer for what only a decoder can make."""
    return plain(404, "Thumbnails are not supported yet.")

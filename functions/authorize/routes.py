"""The one resource of nginx's auth_request: reached, it was allowed."""

from __future__ import annotations

from typing import Final

from werkzeug.wrappers import Response

from pacsless.oauth2.tokens import AccessTokens
from pacsless.web import TENANT_HEADER, USER_HEADER, Request, Route


def authorize(request: Request, *, tokens: AccessTokens) -> Response:
    """Tell nginx whose request it is; `pacsless.web` has checked the token, as for every route.

    Parameters
    ----------
    request
        With the token that nginx got.
    tokens
        Asked for so that this is not ready where no issuer is set: nothing would be
        checked then, and nginx would take that for a yes.
    """
    told = {TENANT_HEADER: request.tenant, USER_HEADER: request.user}
    return Response(status=204, headers=told)


# By the method of the request that nginx asks about.
ROUTES: Final = (
    Route("GET POST PUT PATCH DELETE OPTIONS", "/authorize", authorize, "RFC 6750 §2.1"),
)

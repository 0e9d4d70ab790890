"""What nginx asks before it answers a request: whether its token allows it."""

from __future__ import annotations

from functions.authorize.routes import ROUTES
from pacsless.web import serves

authorize = serves("authorize", ROUTES)

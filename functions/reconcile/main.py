"""A tick of a timer → files, index, documents and warehouse agree."""

from __future__ import annotations

import json

from werkzeug.wrappers import Response

from pacsless.identity import valid_tenant
from pacsless.reconcile.task import Sweeper
from pacsless.web import Request, Route, serves


def turn(request: Request, *, sweeper: Sweeper) -> Response:
    """Take a turn; ``?tenant=`` names one of the tenants, whatever the body says."""
    only = [valid_tenant(one) for one in request.http.args.getlist("tenant")]
    return Response(json.dumps(sweeper.turn(only)) + "\n", content_type="application/json")


reconcile = serves("reconcile", [Route("POST", "/", turn, "CloudEvents HTTP binding §3.1")])

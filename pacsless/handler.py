"""Functions on events: decode, call, publish, map errors to statuses.

::

    @handles(InstanceStored)
    def extract_tags(
        batch: Sequence[Delivered[InstanceStored]], archive: Archive, database: Database
    ) -> Iterable[Event]:

A handler gets a batch (one event is a batch of one) and the resources it names.
The events it returns are published, and acknowledged by the broker, before the
request is answered 204: whoever sent the batch may forget it then. What it
raises becomes a status (`pacsless.errors`) and a body of ``{"code": "…"}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import flask
import functions_framework
from werkzeug.wrappers import Response

from pacsless import resources
from pacsless.events import Event

Handler = Callable[..., Iterable[Event] | None]


def handles(*kinds: type[Event]) -> Callable[[Handler], Callable[[flask.Request], Response]]:
    """Make a function on events of these kinds an HTTP function of functions-framework.

    Parameters
    ----------
    kinds
        The events it takes; others are answered 422 ``unexpected-type``.

    Returns
    -------
    callable
        Decorator. The decorated function's first parameter is the batch, a
        sequence of `pacsless.codec.Delivered`; the others are resources by
        annotation (`pacsless.resources`). It keeps the plain handler as
        ``__wrapped__``, which tests may call with a batch and resources.
    """
    raise NotImplementedError

"""QIDO-RS: search for studies, series and instances."""

from __future__ import annotations

from functions.qido_rs.routes import ROUTES
from pacsless.web import serves

qido_rs = serves("qido_rs", ROUTES)

"""WADO-RS: files, metadata, frames and bulk data to viewers."""

from __future__ import annotations

from functions.wado_rs.routes import ROUTES
from pacsless.web import serves

wado_rs = serves("wado_rs", ROUTES)

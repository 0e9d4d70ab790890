"""Rendered resources and thumbnails of WADO-RS: pictures for whoever reads no DICOM."""

from __future__ import annotations

from functions.rendered.routes import ROUTES
from pacsless.web import serves

rendered = serves("rendered", ROUTES)

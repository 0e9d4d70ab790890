"""WADO-URI: one instance by its three UIDs, as DICOM, a picture or a document."""

from __future__ import annotations

from functions.wado_uri.routes import ROUTES
from pacsless.web import serves

wado_uri = serves("wado_uri", ROUTES)

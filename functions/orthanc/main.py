"""Orthanc's REST API, as far as it reads."""

from __future__ import annotations

from functions.orthanc.routes import ROUTES
from pacsless.web import serves

orthanc = serves("orthanc", ROUTES)
"""Resources by Orthanc's ids; nginx knows them as /orthanc, too."""

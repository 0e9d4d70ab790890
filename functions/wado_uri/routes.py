"""The one resource of WADO-URI; nginx knows it as /wado, too."""

from __future__ import annotations

from typing import Final

from functions.wado_uri.capabilities import WADO_URI
from functions.wado_uri.retrieve import retrieve_wado_uri
from pacsless.web import Route

ROUTES: Final = [Route("GET", "/wado", retrieve_wado_uri, "PS3.18 §9", WADO_URI)]

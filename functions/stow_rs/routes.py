"""The resources instances are stored to (PS3.18 Table 10.5.1-1)."""

from __future__ import annotations

from typing import Final

from functions.stow_rs import capabilities
from functions.stow_rs.store import store_instances
from pacsless.web import STUDY, Route

ROUTES: Final = (
    Route("POST", "/studies", store_instances, "PS3.18 §10.5", capabilities.STUDIES),
    Route("POST", STUDY, store_instances, "PS3.18 §10.5", capabilities.STUDY),
)

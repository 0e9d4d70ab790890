"""STOW-RS: instances from clients, stored as those of C-STORE, and deleted for them."""

from __future__ import annotations

from functions.stow_rs.routes import ROUTES
from pacsless.web import serves

stow_rs = serves("stow_rs", ROUTES)

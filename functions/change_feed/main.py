"""The change feed: what was stored, replaced and deleted, in order and without gaps."""

from __future__ import annotations

from functions.change_feed.routes import ROUTES
from pacsless.web import serves

change_feed = serves("change_feed", ROUTES)

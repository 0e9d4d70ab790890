"""Renew the tables of a Conformance Statement."""

from __future__ import annotations

import sys
from pathlib import Path

from scp_gateway.conformance import filled

_document = Path(sys.argv[1])
_document.write_text(filled(_document.read_text()))

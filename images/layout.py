"""Where images, layers and downloads are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pacsless.errors import PacslessError

REPOSITORY: Final = Path(__file__).resolve().parents[1]
HERE: Final = Path(__file__).resolve().parent

# Not below PACSLESS_HOME: a stack's data may go, what was downloaded need not.
CACHE: Final = REPOSITORY / ".pacsless" / "cache" / "images"
PACKAGES: Final = CACHE / "debian"
LAYERS: Final = CACHE / "layers"
OUTPUT: Final = REPOSITORY / ".pacsless" / "images"

CONSTANT_TIME: Final = 315532800
"""1980-01-01, of files whose time says nothing: the first that ZIP files can have."""


class ImageError(PacslessError):
    """An image cannot be made; the message says what to do."""

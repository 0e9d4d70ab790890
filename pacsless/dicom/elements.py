"""Walking the elements of a data set."""

from __future__ import annotations

from pacsless.errors import Unprocessable


class ScanError(Unprocessable):
    """The bytes cannot be walked as DICOM. The message holds no values."""

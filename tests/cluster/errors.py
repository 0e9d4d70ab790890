"""What can go wrong with the test bed."""

from __future__ import annotations

from pacsless.errors import PacslessError


class ClusterError(PacslessError):
    """The cluster cannot do what was asked; the message says what to do."""

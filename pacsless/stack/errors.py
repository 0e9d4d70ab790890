"""What can go wrong with a stack."""

from __future__ import annotations

from pacsless.errors import PacslessError


class StackError(PacslessError):
    """The stack cannot do what was asked."""

"""What the tests of a module have in common."""

from __future__ import annotations

import pytest

from tests.cluster.acknowledged import Sent


@pytest.fixture(scope="module")
def sent() -> Sent:
    """All that has been acknowledged by the module's tests so far."""
    return Sent()

"""Every test here runs for each kind of host that this machine has."""

from __future__ import annotations

import pytest
from tests.kinds import KINDS, skip_unless_available


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of host."""
    found: str = request.param
    skip_unless_available(found)
    return found

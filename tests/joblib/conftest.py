"""joblib's backend needs isolates, and packages that only the extra `packages` brings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kinds import skip_unless_available


@pytest.fixture(autouse=True)
def backend() -> Iterator[str]:
    """The backend's name, registered; its workers stay for the next test, as they do in a program."""
    pytest.importorskip("joblib")
    skip_unless_available("isolate")
    import atoll.joblib

    assert atoll.joblib.AtollBackend is not None
    return "atoll"

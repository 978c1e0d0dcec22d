"""Everything here holds for workers of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.kinds import KINDS, skip_unless_available

import atoll

type OpenPool = Callable[..., atoll.Pool]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Runs every test once for each kind of worker."""
    kind: str = request.param
    skip_unless_available(kind)
    return kind


@pytest.fixture
def open_pool(kind: str) -> Iterator[OpenPool]:
    """Open a pool of the kind under test; it is closed at the end, and what still runs is cancelled."""
    pools: list[atoll.Pool] = []

    def open_one(workers: int = 2, **options: Any) -> atoll.Pool:
        pools.append(atoll.Pool(workers, kind, **options))
        return pools[-1]

    yield open_one
    for pool in pools:
        pool._core.shut_down(wait=True, cancel_futures=True, cancel_running=True)


@pytest.fixture
def pool(open_pool: OpenPool) -> atoll.Pool:
    """A pool of two workers."""
    return open_pool()

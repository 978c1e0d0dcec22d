"""The kinds of host on which the one contract is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.kinds import KINDS, skip_unless_available

import atoll

type Spawn = Callable[..., atoll.Task[Any]]


@pytest.fixture(params=KINDS)
def spawn(request: pytest.FixtureRequest) -> Iterator[Spawn]:
    """Spawn a task on a host of the kind under test; what still runs at the end of the test is cancelled."""
    skip_unless_available(request.param)
    tasks: list[atoll.Task[Any]] = []

    def spawn_on_kind(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> atoll.Task[Any]:
        tasks.append(atoll.spawn(fn, *args, kind=request.param, **kwargs))
        return tasks[-1]

    yield spawn_on_kind
    for task in tasks:
        task.cancel()
        task.join(30)
        assert task.done()

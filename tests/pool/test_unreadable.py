"""Calls whose arguments or results cannot be rebuilt where they arrive: each ends by the error; the pool goes on."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

import pytest

import atoll

SECONDS = 30


def fail_there(place: str) -> None:
    raise LookupError(f"cannot be rebuilt in {place}")


class Unreadable:
    """Can be taken apart, and not be put together."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return fail_there, (self.place,)


def make_unreadable() -> Unreadable:
    return Unreadable("the pool's interpreter")


def use_pool(pool: atoll.Pool) -> str:
    """What comes of such a call where it is submitted by a task."""
    future = pool.submit(id, Unreadable("a worker"))
    try:
        future.result(SECONDS)
    except LookupError as error:
        return str(error)
    return "no error"


@pytest.fixture
def pool(kind: str) -> Any:
    with atoll.Pool(2, kind=kind) as pool:
        yield pool


def test_a_call_whose_arguments_cannot_be_rebuilt_fails_by_their_error(pool: atoll.Pool) -> None:
    futures = [pool.submit(id, Unreadable("a worker")) for _ in range(20)]
    named = pool.submit(dict, x=Unreadable("a worker"))

    for future in (*futures, named):
        with pytest.raises(LookupError, match="cannot be rebuilt in a worker"):
            future.result(SECONDS)
    assert pool.submit(abs, -1).result(SECONDS) == 1
    assert pool.stats().queued == 0


def test_a_pinned_call_too(pool: atoll.Pool) -> None:
    with pytest.raises(LookupError, match="cannot be rebuilt"):
        pool.on(0).submit(id, Unreadable("a worker")).result(SECONDS)
    assert pool.on(0).submit(abs, -1).result(SECONDS) == 1


def test_a_result_that_cannot_be_rebuilt_is_its_calls_error(pool: atoll.Pool) -> None:
    with pytest.raises(LookupError, match="the pool's interpreter"):
        pool.submit(make_unreadable).result(SECONDS)
    told: list[BaseException | None] = []
    future = pool.submit(make_unreadable)
    future.add_done_callback(lambda done: told.append(done.exception()))
    assert isinstance(future.exception(SECONDS), LookupError)
    assert pool.submit(abs, -1).result(SECONDS) == 1


def test_a_map_ends_by_what_cannot_be_rebuilt_there_or_here(pool: atoll.Pool) -> None:
    with pytest.raises(LookupError, match="a worker"):
        list(pool.map(id, [1, 2, Unreadable("a worker"), 4], chunksize=2, timeout=SECONDS))
    with pytest.raises(LookupError, match="the pool's interpreter"):
        list(pool.map(lambda _: make_unreadable(), range(4), chunksize=2, timeout=SECONDS))
    assert list(pool.map(abs, [-1, -2])) == [1, 2]


def test_taking_other_calls_back_loses_none_that_cannot_be_rebuilt(pool: atoll.Pool) -> None:
    gate = atoll.Channel[int]()
    holding = [pool.submit(gate.receiver.recv) for _ in range(2)]
    broken = [pool.submit(id, Unreadable("a worker")) for _ in range(3)]
    doomed = pool.submit(abs, -1)

    assert doomed.cancel()
    for number in range(2):
        gate.send(number)

    assert sorted(future.result(SECONDS) for future in holding) == [0, 1]
    for future in broken:
        with pytest.raises(LookupError):
            future.result(SECONDS)
    with pytest.raises(CancelledError):
        doomed.result(SECONDS)


def test_a_task_that_uses_the_pool_hears_of_it(pool: atoll.Pool) -> None:
    assert pool.submit(use_pool, pool).result(SECONDS) == "cannot be rebuilt in a worker"

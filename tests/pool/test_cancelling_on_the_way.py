"""Calls that are cancelled between the queue and their first step: a worker's loop, with the test as its pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.conftest import PATIENCE

import atoll
from atoll import _native, _shipping
from atoll._pool.worker import CANCELLED, IDLE, OK, WITHDRAWN


class Loop:
    """One worker, and the ends of its channels that the pool holds."""

    def __init__(self, kind: str, number: int) -> None:
        self.number = number
        self.host = atoll.Interpreter(kind)
        self.jobs, self.own, self.results, self.starts = (atoll.Channel[Any](None) for _ in range(4))

    def start(self, revoked: tuple[int, ...] = ()) -> None:
        """Have the worker run its loop, as the pool does at first and after a cancellation."""
        self.cancels = atoll.Channel[int](None)
        settings = {
            "initializer": None, "initargs": (), "reports": None, "max_tasks": None,
            "split_to": self.jobs.sender, "selects": False, "revoked": revoked,
        }  # fmt: skip
        queues = (self.jobs.receiver, self.own.receiver)
        channels = (*queues, self.results.sender, self.starts.sender, self.cancels.receiver)
        serve = ("atoll._pool.worker", "serve", *_shipping.new_path())
        payload: Any = ("name", serve, (), (self.number, settings, channels), {})
        self.task = _native.submit(self.host.id, self.host.kind, payload, None, None)
        assert self.starts.recv(PATIENCE) == (self.number, IDLE)

    def submit(self, number: int) -> None:
        """Have it called with *number*."""
        self.jobs.send((number, None, (number,), {}, ("name", ("builtins", "abs", *_shipping.new_path()), (), None)))

    def strike(self, number: int) -> None:
        """Say that the call is to be cancelled, and cancel the loop, which waits for the verdict, before that comes."""
        deadline = time.monotonic() + PATIENCE
        while self.jobs.stats().blocked_receivers == 0:  # it has looked into `cancels` once
            assert time.monotonic() < deadline
        self.cancels.send(number)
        self.submit(7)
        assert self.starts.recv(PATIENCE) == (self.number, 7)
        assert self.task.cancel(PATIENCE)
        assert self.task.wait(PATIENCE)
        assert self.task.outcome() == ("ok", "struck")


@pytest.fixture(params=[3, -3], ids=["worker", "hand"])
def open_loop(kind: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], Loop]]:
    loops: list[Loop] = []

    def open_one() -> Loop:
        loops.append(Loop(kind, request.param))
        loops[-1].start()
        return loops[-1]

    yield open_one
    for loop in loops:
        loop.host.close()


def test_a_call_that_comes_to_the_worker_after_its_cancellation_is_not_begun(open_loop: Callable[[], Loop]) -> None:
    loop = open_loop()
    for word in (5, WITHDRAWN, 7, WITHDRAWN):
        loop.cancels.send(word)
    loop.submit(7)
    assert loop.results.recv(PATIENCE) == (7, CANCELLED, None, 0)
    loop.submit(8)
    assert loop.results.recv(PATIENCE) == (8, OK, 8, 0)


def test_a_call_that_was_announced_when_its_loop_was_struck_is_not_begun_by_the_next(
    open_loop: Callable[[], Loop],
) -> None:
    loop = open_loop()
    loop.strike(7)
    loop.start(revoked=(7,))
    assert loop.results.recv(PATIENCE) == (7, CANCELLED, None, 0)
    loop.submit(8)
    assert loop.results.recv(PATIENCE) == (8, OK, 8, 0)


def test_a_call_that_was_not_meant_goes_on_in_the_next_loop(open_loop: Callable[[], Loop]) -> None:
    loop = open_loop()
    loop.strike(IDLE)
    loop.start(revoked=(6,))
    assert loop.results.recv(PATIENCE) == (7, OK, 7, 0)

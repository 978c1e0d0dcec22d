"""Futures cancelled at every stage, and calls that take too long."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import PATIENCE

import atoll

type OpenPool = Callable[..., atoll.Pool]


def square(value: int) -> int:
    return value * value


def announce_and_spin(sender: atoll.Sender[str]) -> None:
    sender.send("here")
    while True:
        pass


def announce_and_take(sender: atoll.Sender[str], receiver: atoll.Receiver[Any]) -> Any:
    sender.send("here")
    return receiver.recv()


def announce_and_hide(sender: atoll.Sender[str], receiver: atoll.Receiver[Any]) -> str:
    sender.send("here")
    try:
        receiver.recv()
    except atoll.Cancellation:
        return "went on"
    return "was not cancelled"


@pytest.fixture
def here() -> atoll.Channel[str]:
    """Where calls say that they have begun."""
    return atoll.Channel[str]()


@pytest.fixture
def never() -> atoll.Channel[str]:
    """What calls wait for in vain."""
    return atoll.Channel[str]()


def test_a_call_that_waits_is_taken_back_and_never_runs(
    open_pool: OpenPool, here: atoll.Channel[str], never: atoll.Channel[str]
) -> None:
    pool = open_pool(1)
    ran = atoll.Channel[int]()
    blocking = pool.submit(announce_and_take, here.sender, never.receiver)
    here.recv(PATIENCE)
    waiting = pool.submit(ran.sender.send, 1)
    after = pool.submit(square, 2)
    assert waiting.cancel()
    assert waiting.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        waiting.result()
    never.send("go")
    assert (blocking.result(PATIENCE), after.result(PATIENCE)) == ("go", 4)
    assert len(ran) == 0


def test_a_call_that_waits_is_taken_back_also_after_shutdown_and_the_others_are_made(
    open_pool: OpenPool, here: atoll.Channel[str], never: atoll.Channel[str]
) -> None:
    pool = open_pool(2)
    blocking = [pool.submit(announce_and_take, here.sender, never.receiver) for _ in range(2)]
    for _ in blocking:
        here.recv(PATIENCE)
    waiting = [pool.submit(square, number) for number in range(100)]
    pinned = [pool.on(1).submit(square, number) for number in range(10)]
    pool.shutdown(wait=False)
    assert all(future.cancel() for future in [*waiting[::2], *pinned[::2]])
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(square, 1)
    for _ in blocking:
        never.send("go")
    assert [future.result(PATIENCE) for future in waiting[1::2]] == [number**2 for number in range(1, 100, 2)]
    assert [future.result(PATIENCE) for future in pinned[1::2]] == [number**2 for number in range(1, 10, 2)]
    assert all(future.cancelled() for future in [*waiting[::2], *pinned[::2]])
    pool.shutdown()
    assert pool.stats().workers == ()


def test_each_of_many_waiting_calls_can_be_taken_back(
    open_pool: OpenPool, here: atoll.Channel[str], never: atoll.Channel[str]
) -> None:
    pool = open_pool(1)
    blocking = pool.submit(announce_and_take, here.sender, never.receiver)
    here.recv(PATIENCE)
    waiting = [pool.submit(square, number) for number in range(1000)]
    assert all(future.cancel() for future in waiting[::2])
    later = pool.submit(square, 1000)
    assert pool.stats().queued == 501
    never.send("go")
    assert blocking.result(PATIENCE) == "go"
    assert [future.result(PATIENCE) for future in waiting[1::2]] == [number**2 for number in range(1, 1000, 2)]
    assert later.result(PATIENCE) == 1_000_000
    assert all(future.cancelled() for future in waiting[::2])


def test_a_running_call_is_cancelled(open_pool: OpenPool, here: atoll.Channel[str]) -> None:
    pool = open_pool(1)
    future = pool.submit(announce_and_spin, here.sender)
    here.recv(PATIENCE)
    future.cancel()  # False if this machine is too busy to do it in a tenth of a second
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(PATIENCE)
    assert future.cancelled()
    assert pool.submit(square, 4).result(PATIENCE) == 16


def test_a_call_that_waits_for_a_message_is_cancelled(
    open_pool: OpenPool, here: atoll.Channel[str], never: atoll.Channel[str]
) -> None:
    pool = open_pool(1)
    future = pool.submit(announce_and_take, here.sender, never.receiver)
    here.recv(PATIENCE)
    future.cancel()
    assert concurrent.futures.wait([future], PATIENCE).done == {future}
    assert future.cancelled()
    assert pool.submit(square, 4).result(PATIENCE) == 16


def test_a_call_that_hides_its_cancellation_has_its_result(
    open_pool: OpenPool, here: atoll.Channel[str], never: atoll.Channel[str]
) -> None:
    pool = open_pool(1)
    future = pool.submit(announce_and_hide, here.sender, never.receiver)
    here.recv(PATIENCE)
    assert not future.cancel()
    assert future.result(PATIENCE) == "went on"
    second = pool.submit(announce_and_spin, here.sender)
    here.recv(PATIENCE)
    second.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        second.result(PATIENCE)


def test_a_call_that_has_ended_cannot_be_cancelled(pool: atoll.Pool) -> None:
    future = pool.submit(square, 2)
    future.result(PATIENCE)
    assert not future.cancel()
    assert not future.cancelled()
    assert future.result() == 4


def test_cancelling_calls_at_any_moment_hits_only_them(open_pool: OpenPool) -> None:
    pool = open_pool(2)
    for _ in range(150):
        doomed, kept = pool.submit(square, 3), pool.submit(square, 5)
        took = doomed.cancel()
        assert kept.result(PATIENCE) == 25
        assert doomed.cancelled() == took or doomed.cancelled()
        if not doomed.cancelled():
            assert doomed.result(PATIENCE) == 9


def test_a_callback_hears_of_a_cancellation(
    open_pool: OpenPool, here: atoll.Channel[str], never: atoll.Channel[str]
) -> None:
    pool = open_pool(1)
    pool.submit(announce_and_take, here.sender, never.receiver)
    here.recv(PATIENCE)
    waiting = pool.submit(square, 1)
    heard = threading.Event()
    waiting.add_done_callback(lambda future: heard.set() if future.cancelled() else None)
    waiting.cancel()
    assert heard.wait(PATIENCE)


def test_a_call_that_takes_too_long_fails_and_the_worker_goes_on(open_pool: OpenPool, here: atoll.Channel[str]) -> None:
    pool = open_pool(1)
    late = pool.options(timeout=0.05).submit(announce_and_spin, here.sender)
    with pytest.raises(TimeoutError, match="ran longer than its timeout of 0.05 s"):
        late.result(PATIENCE)
    assert pool.options(timeout=PATIENCE).submit(square, 3).result(PATIENCE) == 9


def test_the_time_limit_counts_from_the_begin_of_the_call(
    open_pool: OpenPool, here: atoll.Channel[str], never: atoll.Channel[str]
) -> None:
    pool = open_pool(1)
    pool.submit(announce_and_take, here.sender, never.receiver)
    here.recv(PATIENCE)
    limited = pool.options(timeout=5.0).submit(square, 6)
    with pytest.raises(TimeoutError):
        limited.result(0.1)
    never.send("go")
    assert limited.result(PATIENCE) == 36


def test_bad_options_are_refused(pool: atoll.Pool) -> None:
    with pytest.raises(ValueError, match="timeout=0"):
        pool.options(timeout=0)
    with pytest.raises(ValueError, match="cannot call on worker 2"):
        pool.on(2)

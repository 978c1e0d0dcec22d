"""submit and the futures it gives."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import PATIENCE

import atoll

type OpenPool = Callable[..., atoll.Pool]


def square(value: int) -> int:
    return value * value


def fail(text: str) -> None:
    raise LookupError(text)


def take(receiver: atoll.Receiver[Any]) -> Any:
    return receiver.recv()


def announce_and_take(sender: atoll.Sender[str], receiver: atoll.Receiver[Any]) -> Any:
    sender.send("here")
    return receiver.recv()


def test_a_call_returns_its_value(pool: atoll.Pool) -> None:
    assert pool.submit(square, 7).result() == 49
    assert pool.submit(int, "ff", base=16).result(timeout=PATIENCE) == 255


def test_a_call_that_raises_raises_the_same_at_its_future(pool: atoll.Pool) -> None:
    future = pool.submit(fail, "no such island")
    with pytest.raises(LookupError, match="no such island") as caught:
        future.result()
    assert isinstance(caught.value.__cause__, atoll.RemoteTraceback)
    assert "in fail" in str(caught.value.__cause__)
    assert "_pool" not in str(caught.value.__cause__)
    assert isinstance(future.exception(), LookupError)


def test_the_functions_keywords_may_have_any_name(pool: atoll.Pool) -> None:
    assert pool.submit(dict, self=1, fn=2, timeout=3).result() == {"self": 1, "fn": 2, "timeout": 3}


def test_a_pool_is_an_executor_and_its_futures_are_futures(pool: atoll.Pool) -> None:
    assert isinstance(pool, concurrent.futures.Executor)
    assert isinstance(pool.submit(square, 1), concurrent.futures.Future)


def test_wait_and_as_completed_see_every_future(pool: atoll.Pool) -> None:
    futures = [pool.submit(square, number) for number in range(40)]
    assert concurrent.futures.wait(futures, timeout=PATIENCE).not_done == set()
    futures = [pool.submit(square, number) for number in range(40)]
    done = concurrent.futures.as_completed(futures, timeout=PATIENCE)
    assert sorted(future.result() for future in done) == [number * number for number in range(40)]


def test_wait_returns_at_the_first_of_several(pool: atoll.Pool) -> None:
    channel = atoll.Channel[int]()
    late = pool.submit(take, channel.receiver)
    early = pool.submit(square, 3)
    done, not_done = concurrent.futures.wait([late, early], PATIENCE, concurrent.futures.FIRST_COMPLETED)
    assert (done, not_done) == ({early}, {late})
    channel.send(1)
    assert late.result() == 1


def test_a_callback_is_called_once_though_nobody_asks_for_the_result(pool: atoll.Pool) -> None:
    called = threading.Event()
    calls: list[Any] = []
    future = pool.submit(square, 5)
    future.add_done_callback(lambda done: (calls.append(done.result()), called.set()))
    assert called.wait(PATIENCE)
    assert calls == [25]


def test_a_callback_added_after_the_end_is_called_at_once(pool: atoll.Pool) -> None:
    future = pool.submit(square, 5)
    future.result()
    calls: list[Any] = []
    future.add_done_callback(calls.append)
    assert calls == [future]


def test_a_callback_may_use_the_pool(pool: atoll.Pool) -> None:
    answers = atoll.Channel[int]()
    future = pool.submit(square, 2)
    future.add_done_callback(lambda done: answers.send(pool.submit(square, done.result()).result()))
    assert answers.recv(PATIENCE) == 16


def test_asyncio_awaits_a_future(pool: atoll.Pool) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        wrapped = asyncio.wrap_future(pool.submit(square, 6))
        return [await wrapped, await loop.run_in_executor(pool, square, 7)]

    assert asyncio.run(main()) == [36, 49]


def test_a_future_polled_without_waiting_is_done_in_the_end(pool: atoll.Pool) -> None:
    future = pool.submit(square, 2)
    pause = threading.Event()
    while not future.done():
        pause.wait(0.001)
    assert future.result(0) == 4


def test_a_result_that_is_late_is_a_timeout_and_may_be_asked_for_again(pool: atoll.Pool) -> None:
    channel = atoll.Channel[int]()
    future = pool.submit(take, channel.receiver)
    with pytest.raises(TimeoutError, match="has not ended after 0.01 s"):
        future.result(0.01)
    with pytest.raises(TimeoutError):
        future.exception(0)
    channel.send(8)
    assert future.result(PATIENCE) == 8


def test_a_running_call_says_so(pool: atoll.Pool) -> None:
    here, channel = atoll.Channel[str](), atoll.Channel[int]()
    future = pool.submit(announce_and_take, here.sender, channel.receiver)
    here.recv(PATIENCE)
    assert future.running()
    assert not future.done()
    channel.send(1)
    future.result(PATIENCE)
    assert not future.running()


def test_a_long_call_does_not_hold_the_others_back(pool: atoll.Pool) -> None:
    channel = atoll.Channel[int]()
    long = pool.submit(take, channel.receiver)
    assert [pool.submit(square, number).result(PATIENCE) for number in range(20)][-1] == 361
    channel.send(0)
    assert long.result(PATIENCE) == 0


def test_fifty_threads_use_one_pool_at_once(pool: atoll.Pool) -> None:
    sums: list[int] = []

    def use(base: int) -> None:
        sums.append(sum(pool.submit(square, base + step).result(PATIENCE) for step in range(20)))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(sums) == sorted(sum((base + step) ** 2 for step in range(20)) for base in range(50))


def test_nothing_is_kept_of_a_call_whose_future_was_dropped(pool: atoll.Pool) -> None:
    class Thing:
        def method(self) -> int:
            return 1

    thing = Thing()
    gone = threading.Event()
    weakref.finalize(thing, gone.set)
    pool.submit(thing.method)
    del thing
    assert gone.wait(PATIENCE)


def test_a_large_function_is_fetched_by_every_worker(open_pool: OpenPool) -> None:
    pool = open_pool(2)
    weight = bytes(range(256)) * 1000

    def weigh(value: int) -> int:
        return len(weight) + value

    assert [pool.submit(weigh, number).result(PATIENCE) for number in range(20)] == [256_000 + n for n in range(20)]
    assert set(pool.map(weigh, range(5))) == {256_000 + n for n in range(5)}


def test_values_of_listed_context_variables_travel_with_a_call(open_pool: OpenPool) -> None:
    pool = open_pool(1, context=[REQUEST])
    token = REQUEST.set("r-17")
    try:
        assert pool.submit(read_request).result(PATIENCE) == "r-17"
    finally:
        REQUEST.reset(token)
    assert pool.submit(read_request).result(PATIENCE) == "nobody"


REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request")


def read_request() -> str:
    return REQUEST.get("nobody")


def test_bad_input_is_refused_at_submit(pool: atoll.Pool) -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match="not callable"):
        pool.submit(7)  # type: ignore[arg-type]
    with pytest.raises(atoll.CloneError, match=r"cannot clone lock in .*\(lock\)"):
        pool.submit(lambda: lock)
    with pytest.raises(atoll.CloneError, match=r"cannot clone args\[0\]\[1\]"):
        pool.submit(square, [1, (step for step in ())])  # type: ignore[arg-type]
    with pytest.raises(atoll.CloneError, match=r"cannot clone kwargs\['source'\]"):
        pool.submit(dict, source=(step for step in ()))
    assert pool.submit(square, 2).result() == 4


def test_a_result_that_cannot_be_cloned_fails_its_call_and_the_worker_lives(open_pool: OpenPool) -> None:
    pool = open_pool(1)
    with pytest.raises(atoll.CloneError, match=r"cannot clone result\[0\]"):
        pool.submit(lambda: [(step for step in ())]).result(PATIENCE)
    assert pool.submit(square, 2).result(PATIENCE) == 4
    assert pool.stats().workers[0].calls == 2


def test_an_exception_that_cannot_be_rebuilt_arrives_all_the_same(pool: atoll.Pool) -> None:
    def fail_oddly() -> None:
        import threading

        class Odd(Exception):
            def __init__(self, lock: Any, text: str) -> None:
                super().__init__(text)
                self.lock = lock

        raise Odd(threading.Lock(), "odd")

    with pytest.raises(Exception, match="odd"):
        pool.submit(fail_oddly).result(PATIENCE)


def test_system_exit_and_keyboard_interrupt_end_only_their_call(open_pool: OpenPool) -> None:
    pool = open_pool(1)

    def leave(error: str) -> None:
        raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt()}[error]

    with pytest.raises(SystemExit):
        pool.submit(leave, "exit").result(PATIENCE)
    with pytest.raises(KeyboardInterrupt):
        pool.submit(leave, "interrupt").result(PATIENCE)
    assert pool.submit(square, 3).result(PATIENCE) == 9

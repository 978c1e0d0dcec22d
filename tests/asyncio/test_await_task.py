"""`await task`: the outcome of a task in another interpreter, in asyncio."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.asyncio.test_verbs import blocked, run

import atoll


def fail() -> None:
    raise LookupError("no such island")


def test_await_gives_the_result_of_a_task() -> None:
    async def main() -> int:
        return await atoll.spawn(pow, 2, 10, kind="interpreter")

    assert run(main()) == 1024


def test_await_raises_what_the_task_raised_with_the_remote_traceback() -> None:
    async def main() -> None:
        with pytest.raises(LookupError, match="no such island") as caught:
            await atoll.spawn(fail, kind="interpreter")
        assert isinstance(caught.value.__cause__, atoll.RemoteTraceback)

    run(main())


def test_await_of_a_task_that_has_ended_is_done_at_once() -> None:
    task = atoll.spawn(abs, -3, kind="interpreter")
    task.join()

    async def main() -> tuple[int, int]:
        return await task, await task

    assert run(main()) == (3, 3)


def test_await_of_a_task_that_was_cancelled_raises_task_cancelled() -> None:
    async def main() -> None:
        gate = atoll.Channel[int]()
        task = atoll.spawn(gate.receiver.recv, kind="interpreter")
        waiting = asyncio.ensure_future(task)
        await blocked(gate, receivers=1)
        task.cancel()
        with pytest.raises(atoll.TaskCancelled):
            await waiting

    run(main())


def test_many_coroutines_wait_for_many_tasks_and_several_for_one() -> None:
    async def main() -> None:
        gate = atoll.Channel[int]()
        task = atoll.spawn(gate.receiver.recv, kind="interpreter")
        others = [atoll.spawn(pow, number, 2, kind="interpreter") for number in range(20)]
        threads = threading.active_count()
        several = [asyncio.ensure_future(task) for _ in range(5)]
        assert await asyncio.gather(*others) == [number * number for number in range(20)]
        assert threading.active_count() == threads
        gate.send(7)
        assert await asyncio.gather(*several) == [7] * 5

    run(main())


def test_cancelling_the_coroutine_that_waits_leaves_the_task_alone() -> None:
    async def main() -> int:
        gate = atoll.Channel[int]()
        task = atoll.spawn(gate.receiver.recv, kind="interpreter")
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0.01)
        assert task.is_alive()
        gate.send(5)
        return await task

    assert run(main()) == 5


def test_await_of_a_task_that_was_not_started_is_an_error() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="cannot await task 'abs'"):
            await atoll.Task(abs, (-1,))

    run(main())


def test_a_task_is_awaited_in_another_interpreter_that_spawned_it() -> None:
    def outer() -> int:
        import asyncio

        import atoll

        async def main() -> int:
            return sum(await asyncio.gather(*[atoll.spawn(pow, number, 2, kind="interpreter") for number in range(5)]))

        return asyncio.run(main())

    assert atoll.run(outer, kind="interpreter") == 30


def test_what_a_pool_computes_is_awaited_by_way_of_asyncio_itself() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        with atoll.Pool(2, kind="interpreter") as pool:
            futures = [asyncio.wrap_future(pool.submit(pow, number, 2)) for number in range(5)]
            return [*await asyncio.gather(*futures), await loop.run_in_executor(pool, abs, -7)]

    assert run(main()) == [0, 1, 4, 9, 16, 7]

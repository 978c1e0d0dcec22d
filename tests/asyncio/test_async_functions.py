"""`async def` functions as tasks: many on the one event loop of a host of any kind."""

from __future__ import annotations

import asyncio
import functools
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests.asyncio.test_verbs import run
from tests.kinds import KINDS, skip_unless_available

import atoll
from atoll import _native, _shipping

type Spawn = Callable[..., atoll.Task[Any]]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    skip_unless_available(request.param)
    return str(request.param)


@pytest.fixture
def spawn(kind: str) -> Iterator[Spawn]:
    """Spawn a task on a host of the kind under test; what still runs at the end of the test is cancelled."""
    tasks: list[atoll.Task[Any]] = []

    def spawn_on_kind(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> atoll.Task[Any]:
        tasks.append(atoll.spawn(fn, *args, kind=kind, **kwargs))
        return tasks[-1]

    yield spawn_on_kind
    for task in tasks:
        task.cancel()
        task.join(30)
        assert task.done()


async def double(number: int) -> int:
    import asyncio

    await asyncio.sleep(0)
    return number * 2


async def wait_at(gate: atoll.Receiver[int], there: atoll.Sender[int]) -> int:
    await there.asend(1)
    return await gate.arecv()


async def fail_in_cleaning_up(there: atoll.Sender[int]) -> None:
    import asyncio

    await there.asend(1)
    try:
        await asyncio.Event().wait()
    finally:
        raise LookupError("while cleaning up")


def test_an_async_function_returns_its_value(spawn: Spawn) -> None:
    assert spawn(double, 4).result(timeout=30) == 8


def test_run_and_interpreter_call_and_task_groups_take_async_functions(kind: str) -> None:
    assert atoll.run(double, 3, kind=kind) == 6
    with atoll.Interpreter(kind=kind) as host:
        assert host.call(double, 5) == 10
    with atoll.TaskGroup() as group:
        tasks = [group.spawn(double, number, kind=kind) for number in range(10)]
    assert [task.result() for task in tasks] == [2 * number for number in range(10)]


def test_partials_methods_and_functions_that_return_a_coroutine_run_as_well(spawn: Spawn) -> None:
    class Doubler:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        async def multiply(self, number: int) -> int:
            return number * self.factor

    assert spawn(functools.partial(double, 4)).result(timeout=30) == 8
    assert spawn(Doubler(3).multiply, 4).result(timeout=30) == 12
    assert spawn(lambda number: double(number + 1), 4).result(timeout=30) == 10


def test_an_exception_of_an_async_function_arrives_with_its_traceback(spawn: Spawn) -> None:
    async def fail() -> None:
        import asyncio

        await asyncio.sleep(0)
        raise LookupError("no such island")

    error = spawn(fail).exception(timeout=30)
    assert isinstance(error, LookupError)
    remote = str(error.__cause__)
    assert "in fail" in remote
    assert "_async_tasks.py" not in remote


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError])
def test_no_exception_ends_more_than_its_task(spawn: Spawn, error: type[BaseException]) -> None:
    async def fail(name: str) -> None:
        raise getattr(__import__("builtins"), name)

    assert type(spawn(fail, error.__name__).exception(timeout=30)) is error
    assert spawn(double, 1).result(timeout=30) == 2


def test_what_cannot_be_cloned_is_named_on_the_way_out(spawn: Spawn) -> None:
    async def guard() -> list[object]:
        import threading

        return [threading.Lock()]

    error = spawn(guard).exception(timeout=30)
    assert isinstance(error, atoll.CloneError)
    assert error.path == "result[0]"


def test_a_thousand_async_tasks_wait_on_one_thread_of_one_host(kind: str) -> None:
    async def wait(gate: atoll.Receiver[int], there: atoll.Sender[int]) -> int:
        import threading

        await there.asend(threading.get_ident())
        return await gate.arecv()

    gate, there = atoll.Channel[int](None), atoll.Channel[int](None)
    with atoll.Interpreter(kind=kind) as host:
        # `call` would wait for each: submitted as it does.
        how, target, ends, region = _shipping.pack(wait)
        payload = (how, target, ends, (gate.receiver, there.sender), {})
        tasks = [atoll.Task._of(_native.submit(host.id, kind, payload, region, None)) for _ in range(1000)]
        threads = {there.recv(timeout=60) for _ in tasks}
        [info] = [info for info in atoll.list_hosts() if info.id == host.id]
        gate.send_many(range(1000))

        assert sorted(task.result(timeout=60) for task in tasks) == list(range(1000))
        assert len(threads) == 1
        assert info.running == 1000
        assert info.threads < 30


def test_a_cancelled_async_task_gets_a_cancelled_error_and_its_waiter_task_cancelled(spawn: Spawn) -> None:
    async def work(there: atoll.Sender[str]) -> None:
        import asyncio

        await there.asend("started")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await there.asend("cancelled")
            raise

    there = atoll.Channel[str](None)
    task = spawn(work, there.sender)
    assert there.recv(timeout=30) == "started"

    assert task.cancel()

    task.join(30)
    assert task.cancelled()
    assert there.recv(timeout=30) == "cancelled"
    with pytest.raises(atoll.TaskCancelled):
        task.result()


def test_an_async_task_that_waits_for_a_channel_is_cancelled_and_loses_nothing(spawn: Spawn) -> None:
    gate, there = atoll.Channel[int](1), atoll.Channel[int](1)
    task = spawn(wait_at, gate.receiver, there.sender)
    there.recv(timeout=30)
    task.cancel()
    task.join(30)
    assert task.cancelled()
    gate.send(1)
    assert gate.recv_nowait() == 1


def test_a_cancellation_that_is_caught_once_can_be_asked_for_again(spawn: Spawn) -> None:
    async def stubborn(there: atoll.Sender[int]) -> None:
        import asyncio

        for count in range(3):
            await there.asend(count)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if count == 2:
                    raise

    there = atoll.Channel[int](1)
    task = spawn(stubborn, there.sender)
    for count in range(3):
        assert there.recv(timeout=30) == count
        assert task.cancel()
    task.join(30)
    assert task.cancelled()


def test_an_async_task_that_fails_in_cleaning_up_failed(spawn: Spawn) -> None:
    there = atoll.Channel[int](1)
    task = spawn(fail_in_cleaning_up, there.sender)
    there.recv(timeout=30)
    task.cancel()
    assert isinstance(task.exception(timeout=30), LookupError)


def test_a_cancelled_error_that_nobody_asked_for_is_a_failure(spawn: Spawn) -> None:
    async def give_up() -> None:
        import asyncio

        raise asyncio.CancelledError

    assert isinstance(spawn(give_up).exception(timeout=30), asyncio.CancelledError)


def test_running_is_right_in_every_coroutine_and_in_their_threads(spawn: Spawn) -> None:
    async def who() -> tuple[int, int, str]:
        import asyncio

        import atoll

        seen = []
        for _ in range(20):
            await asyncio.sleep(0)
            running = atoll.running()
            assert running is not None
            seen.append(running.id)
        inside = await asyncio.to_thread(atoll.running)
        assert inside is not None
        child = await asyncio.create_task(asyncio.to_thread(atoll.running))
        assert child == inside
        assert set(seen) == {inside.id}
        return inside.id, inside.host_id, inside.name

    tasks = [spawn(who, name=f"sailor-{number}") for number in range(20)]
    for number, task in enumerate(tasks):
        task_id, _, name = task.result(timeout=30)
        assert (task_id, name) == (task.id, f"sailor-{number}")


def test_what_is_bound_to_the_loop_may_be_kept_between_tasks(kind: str) -> None:
    async def keep() -> None:
        import asyncio
        import builtins

        builtins.kept = asyncio.get_running_loop()  # type: ignore[attr-defined]

    async def is_same() -> bool:
        import asyncio
        import builtins

        return asyncio.get_running_loop() is builtins.kept  # type: ignore[attr-defined]

    with atoll.Interpreter(kind=kind) as host:
        host.call(keep)
        assert host.call(is_same)


def test_sync_and_async_tasks_run_side_by_side(spawn: Spawn) -> None:
    gate, there = atoll.Channel[int](None), atoll.Channel[int](None)
    waiting = [spawn(wait_at, gate.receiver, there.sender) for _ in range(10)]
    blocked = [spawn(gate.receiver.recv) for _ in range(3)]
    for _ in waiting:
        there.recv(timeout=30)
    assert [spawn(abs, -number).result(timeout=30) for number in range(5)] == list(range(5))
    gate.send_many(range(13))
    assert sorted(task.result(timeout=30) for task in waiting + blocked) == list(range(13))


def test_a_closing_host_cancels_its_async_tasks_and_waits_for_their_cleaning_up(kind: str) -> None:
    async def clean_up_slowly(there: atoll.Sender[str]) -> None:
        import asyncio

        await there.asend("started")
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await asyncio.sleep(0.05)
            finally:
                await there.asend("clean")

    there = atoll.Channel[str](None)
    errors: list[BaseException] = []

    def call(host: atoll.Interpreter) -> None:
        try:
            host.call(clean_up_slowly, there.sender)
        except atoll.AtollError as error:
            errors.append(error)

    with atoll.Interpreter(kind=kind) as host:
        callers = [threading.Thread(target=call, args=(host,)) for _ in range(5)]
        for caller in callers:
            caller.start()
        for _ in callers:
            assert there.recv(timeout=30) == "started"
    for caller in callers:
        caller.join()

    assert [type(error) for error in errors] == [atoll.TaskCancelled] * 5
    assert there.recv_many(5) == ["clean"] * 5


def test_a_closing_host_ends_coroutines_that_swallow_their_cancellation_once(kind: str) -> None:
    async def swallow(there: atoll.Sender[int]) -> None:
        import asyncio

        await there.asend(1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    there = atoll.Channel[int](1)
    host = atoll.Interpreter(kind=kind)
    outcome: list[BaseException] = []

    def call() -> None:
        try:
            host.call(swallow, there.sender)
        except atoll.AtollError as error:
            outcome.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    there.recv(timeout=30)
    host.close(timeout=30)
    caller.join()

    assert isinstance(outcome[0], atoll.TaskCancelled)


def test_tasks_that_are_cancelled_at_once_are_cancelled_wherever_they_were(spawn: Spawn) -> None:
    gate, there = atoll.Channel[int](1), atoll.Channel[int](None)
    for _ in range(10):
        tasks = [spawn(wait_at, gate.receiver, there.sender) for _ in range(20)]
        for task in tasks:
            task.cancel()
        for task in tasks:
            task.join(30)
            assert task.cancelled()


def test_a_host_that_closes_while_tasks_arrive_ends_every_one_of_them(kind: str) -> None:
    how, target, ends, region = _shipping.pack(wait_at)
    chance = random.Random(kind)
    for _ in range(20):
        gate, there = atoll.Channel[int](1), atoll.Channel[int](None)
        payload = (how, target, ends, (gate.receiver, there.sender), {})
        with atoll.Interpreter(kind=kind) as host:
            tasks = [atoll.Task._of(_native.submit(host.id, kind, payload, region, None)) for _ in range(20)]
            for _ in range(chance.randrange(3)):
                there.recv(timeout=30)
        for task in tasks:
            task.join(30)
            assert task.cancelled(), task


def test_hosts_with_a_loop_open_and_close_again_and_again(kind: str) -> None:
    for number in range(5):
        with atoll.Interpreter(kind=kind) as host:
            assert host.call(double, number) == 2 * number


def test_a_task_here_is_awaited_while_it_is_a_coroutine_there(kind: str) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*[atoll.spawn(double, number, kind=kind) for number in range(50)])

    assert run(main()) == [2 * number for number in range(50)]


def test_async_generators_and_map_are_refused_with_a_way_out() -> None:
    async def count() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match=r"async generator function, whose values have nowhere to go\); pass an async"):
        atoll.spawn(count)
    with pytest.raises(TypeError, match=r"cannot map double \(it is an async function\); spawn\(\) it"):
        atoll.map(double, [1, 2])
    with atoll.Pool(1, kind="interpreter") as pool:
        with pytest.raises(TypeError, match=r"cannot give double to a pool \(it is an async function\)"):
            pool.submit(double, 1)


def test_uvloop_is_used_in_isolates_where_it_is_installed() -> None:
    pytest.importorskip("uvloop", reason="needs uvloop")
    skip_unless_available("isolate")

    async def module_of_loop() -> str:
        import asyncio

        return type(asyncio.get_running_loop()).__module__

    assert atoll.run(module_of_loop, kind="isolate") == "uvloop"
    assert atoll.run(module_of_loop, kind="interpreter").startswith("asyncio")


def test_a_child_that_an_async_function_forks_in_an_isolate_ends_with_the_function() -> None:
    skip_unless_available("isolate")

    async def fork(error: str | None) -> int:
        import asyncio
        import os
        import sys
        import warnings

        await asyncio.sleep(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            if error is not None:
                sys.exit(int(error))
            return 0  # reaches nobody: the child ends here
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert atoll.run(fork, None, kind="isolate") == 0
    assert atoll.run(fork, "7", kind="isolate") == 7
    assert atoll.run(double, 2, kind="isolate") == 4

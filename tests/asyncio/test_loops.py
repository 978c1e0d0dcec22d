"""Loops of every sort: idle, in threads, in other interpreters, closed too early, forked, interrupted, under debug."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.asyncio.test_verbs import blocked, collect, run
from tests.kinds import KINDS, skip_unless_available

import atoll

type RunChild = Callable[[str], tuple[int, str, str]]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_hundred_idle_receivers_use_no_cpu_and_no_thread() -> None:
    async def main() -> tuple[float, int]:
        channels = [atoll.Channel[int](1) for _ in range(100)]
        waiting = [asyncio.create_task(channel.arecv()) for channel in channels]
        for channel in channels:
            await blocked(channel, receivers=1)
        threads = threading.active_count()
        before = time.process_time()
        await asyncio.sleep(0.5)
        used = time.process_time() - before
        for channel in channels:
            channel.send(1)
        assert await asyncio.gather(*waiting) == [1] * 100
        return used, threads

    before = threading.active_count()
    used, threads = run(main())

    assert used < 0.05
    assert threads == before


def test_a_loop_has_one_descriptor_for_all_its_waits_and_closes_it_with_itself() -> None:
    before = descriptors()
    loop = asyncio.new_event_loop()
    bare = descriptors()
    channels = [atoll.Channel[int](1) for _ in range(50)]

    async def main() -> int:
        waiting = [asyncio.create_task(channel.arecv()) for channel in channels]
        for channel in channels:
            await blocked(channel, receivers=1)
        used = descriptors()
        for channel in channels:
            channel.send(1)
        await asyncio.gather(*waiting)
        return used

    assert loop.run_until_complete(main()) == bare + 1
    loop.close()
    assert descriptors() == before


def test_loops_in_several_threads_wait_side_by_side() -> None:
    ping, pong = atoll.Channel[int](1), atoll.Channel[int](1)

    async def answer() -> None:
        async for number in ping:
            await pong.asend(number + 1)
        pong.close()

    async def ask() -> list[int]:
        answers = []
        for number in range(200):
            await ping.asend(number)
            answers.append(await pong.arecv())
        ping.close()
        return answers

    thread = threading.Thread(target=asyncio.run, args=(answer(),))
    thread.start()
    answers = run(ask())
    thread.join()

    assert answers == list(range(1, 201))


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_here_and_one_in_another_interpreter_play_ping_pong(kind: str) -> None:
    skip_unless_available(kind)

    def answer(ping: atoll.Receiver[int], pong: atoll.Sender[int]) -> int:
        import asyncio

        async def main() -> int:
            count = 0
            async for number in ping:
                await pong.asend(number * 2)
                count += 1
            return count

        return asyncio.run(main())

    async def ask() -> list[int]:
        answers = []
        for number in range(500):
            await ping.asend(number)
            answers.append(await pong.arecv())
        ping.close()
        return answers

    ping, pong = atoll.Channel[int](1), atoll.Channel[int](0)
    task = atoll.spawn(answer, ping.receiver, pong.sender, kind=kind)

    assert run(ask()) == [2 * number for number in range(500)]
    assert task.result(timeout=60) == 500


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_waits_of_another_interpreter_end_with_the_loop_there(kind: str) -> None:
    skip_unless_available(kind)

    def work(channel: atoll.Channel[int]) -> tuple[int, int]:
        import asyncio
        import os

        async def main() -> int:
            waiting = [asyncio.create_task(channel.arecv()) for _ in range(1000)]
            while channel.stats().blocked_receivers < 1000:
                await asyncio.sleep(0)
            used = len(os.listdir("/proc/self/fd"))
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            return used

        return asyncio.run(main()), channel.stats().blocked_receivers

    assert atoll.run(work, atoll.Channel[int](0), kind=kind)[1] == 0


def test_a_loop_that_is_closed_with_waits_in_it_withdraws_them() -> None:
    before = descriptors()
    channel = atoll.Channel[int](1)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
    waiting = [loop.create_task(channel.arecv()) for _ in range(3)]
    loop.run_until_complete(blocked(channel, receivers=3))

    loop.close()

    assert descriptors() == before
    channel.send(1)  # rings for nobody
    for task in waiting:
        task.get_coro().close()  # type: ignore[union-attr]
    del waiting, task
    gc.collect()
    assert channel.stats().blocked_receivers == 0
    assert channel.recv_nowait() == 1


def test_a_new_loop_in_the_same_thread_has_a_reader_of_its_own() -> None:
    channel = atoll.Channel[int](1)
    for number in range(20):
        loop = asyncio.new_event_loop()
        waiting = loop.create_task(channel.arecv())
        loop.run_until_complete(blocked(channel, receivers=1))
        channel.send(number)
        assert loop.run_until_complete(waiting) == number
        loop.close()


def test_asyncio_in_debug_mode_and_with_every_warning_has_nothing_to_say(run_child: RunChild) -> None:
    code, out, err = run_child("""
        import asyncio, gc, logging, warnings
        import atoll

        warnings.simplefilter("error")
        logging.basicConfig(level=logging.DEBUG)

        async def main():
            channel = atoll.Channel(1)
            waiting = [asyncio.create_task(channel.arecv()) for _ in range(10)]
            await asyncio.sleep(0)
            for number in range(10):
                await channel.asend(number)
            assert sorted(await asyncio.gather(*waiting)) == list(range(10))
            try:
                async with asyncio.timeout(0.01):
                    await atoll.aselect(channel, atoll.after(1000))
            except TimeoutError:
                print("timed out")

        asyncio.run(main(), debug=True)
        gc.collect()
    """)
    assert (code, out) == (0, "timed out\n"), err
    assert "Warning" not in err
    assert "Executing" not in err
    assert "rror" not in err


def test_ctrl_c_ends_a_loop_whose_coroutines_wait_for_channels(start_child: Callable[[str], Any]) -> None:
    child = start_child("""
        import asyncio
        import atoll

        async def main():
            channel = atoll.Channel(1)
            others = [asyncio.create_task(channel.arecv()) for _ in range(5)]
            print("waiting", flush=True)
            try:
                await channel.arecv()
            except asyncio.CancelledError:
                print("cancelled", flush=True)
                raise

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    child.wait_for_line("waiting")
    child.wait_until_blocked()
    child.interrupt()
    code, out, err = child.end()
    assert (code, out) == (0, "cancelled\ninterrupted\n"), err


def test_a_forked_child_has_loops_of_its_own_and_the_parents_loop_is_unharmed(run_child: RunChild) -> None:
    code, out, err = run_child("""
        import asyncio, os, sys, warnings
        import atoll

        warnings.simplefilter("ignore", DeprecationWarning)
        ours = atoll.Channel(1)

        async def child():
            channel = atoll.Channel(1)
            waiting = asyncio.create_task(channel.arecv())
            await asyncio.sleep(0)
            await channel.asend("child")
            return await waiting

        async def parent():
            waiting = asyncio.create_task(ours.arecv())
            await asyncio.sleep(0)
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    asyncio._set_running_loop(None)
                    code = 0 if asyncio.run(child()) == "child" else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            await ours.asend("parent")
            return await waiting

        print(asyncio.run(parent()))
    """)
    assert (code, out) == (0, "parent\n"), err


def test_a_loop_of_a_cancelled_function_can_be_closed_in_an_interpreter_that_ends() -> None:
    def work(channel: atoll.Channel[int]) -> None:
        import asyncio

        async def main() -> None:
            asyncio.create_task(channel.arecv())  # noqa: RUF006 - left behind on purpose
            while channel.stats().blocked_receivers < 1:
                await asyncio.sleep(0)

        asyncio.run(main())

    channel = atoll.Channel[int](1)
    with atoll.Interpreter(kind="interpreter") as host:
        host.call(work, channel)
    assert channel.stats().blocked_receivers == 0


def test_an_async_for_over_a_channel_ends_when_the_last_sender_is_gone() -> None:
    def send(sender: atoll.Sender[int]) -> None:
        for number in range(100):
            sender.send(number)

    async def main() -> list[int]:
        channel = atoll.Channel[int](3)
        receiver = channel.receiver
        task = atoll.spawn(send, channel.sender, kind="interpreter")
        del channel
        received = await collect(receiver)
        task.join()
        return received

    assert run(main()) == list(range(100))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_task_that_runs_a_loop_of_its_own_has_its_coroutines_cancelled(kind: str) -> None:
    skip_unless_available(kind)

    def work(there: atoll.Sender[str], gate: atoll.Receiver[str]) -> None:
        import asyncio

        async def main() -> None:
            await there.asend("waiting")
            try:
                await gate.arecv()
            finally:
                await there.asend("cleaned up")

        asyncio.run(main())

    for _ in range(5):
        there, gate = atoll.Channel[str](1), atoll.Channel[str](1)
        task = atoll.spawn(work, there.sender, gate.receiver, kind=kind)
        assert there.recv(timeout=30) == "waiting"

        assert task.cancel()

        task.join(30)
        assert task.cancelled()
        assert there.recv(timeout=30) == "cleaned up"


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_in_a_thread_of_the_program_ends_with_the_host(kind: str) -> None:
    skip_unless_available(kind)

    def leave_a_thread(there: atoll.Sender[str], gate: atoll.Receiver[str]) -> None:
        import asyncio
        import threading

        async def main() -> None:
            await there.asend("waiting")
            try:
                await gate.arecv()
            except asyncio.CancelledError:
                there.send_nowait("cancelled")

        threading.Thread(target=lambda: asyncio.run(main())).start()

    there, gate = atoll.Channel[str](None), atoll.Channel[str](1)
    with atoll.Interpreter(kind=kind) as host:
        host.call(leave_a_thread, there.sender, gate.receiver)
        assert there.recv(timeout=30) == "waiting"

    assert there.recv(timeout=30) == "cancelled"


def test_waits_hold_on_to_nothing_when_they_are_over() -> None:
    channel, other = atoll.Channel[Any](1), atoll.Channel[Any](1)
    message = ["a", "message"]
    sending, timer = other.sending(message), atoll.after(1000)
    kept = (channel, other, message, sending, timer)

    async def cancelled(coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def main(times: int) -> None:
        for _ in range(times):
            await cancelled(channel.arecv())
            await channel.asend(message)
            await cancelled(channel.asend(message))
            await other.asend(message)
            await cancelled(atoll.aselect(sending, timer))
            await atoll.aselect(channel, sending, timer)
            await other.arecv()
            with pytest.raises(TimeoutError):
                await atoll.aselect(channel, timer, timeout=0)
            with pytest.raises(atoll.CloneError):
                await channel.asend(threading.Lock())

    run(main(3))
    gc.collect()
    before = [sys.getrefcount(each) for each in kept], len(gc.get_objects())
    run(main(100))
    gc.collect()
    after = [sys.getrefcount(each) for each in kept], len(gc.get_objects())

    assert after[0] == before[0]
    assert after[1] < before[1] + 100

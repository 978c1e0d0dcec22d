"""Threads inside isolates: made, churned, joined; with numpy's, which share their stacks' memory with everyone's."""

from __future__ import annotations

import pytest
from tests.isolates.conftest import RunProgram
from tests.isolates.programs import check, needs

import atoll

pytestmark = pytest.mark.usefixtures("isolates_here")

CHURN = """
import concurrent.futures
import atoll

def churn(rounds):
    import concurrent.futures
    import numpy as np

    total = 0.0
    for _ in range(rounds):
        # A new pool each time: threads come and go, and their stacks are used again by those of other isolates.
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            total += sum(pool.map(lambda seed: float(np.linalg.norm(np.random.default_rng(seed).random((40, 40)))),
                                  range(32)))
    return round(total, 6)

expected = churn(1)
hosts = [atoll.Interpreter(kind="isolate") for _ in range(4)]
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    answers = list(pool.map(lambda host: host.call(churn, 25), hosts))
for host in hosts:
    host.close()
print([abs(answer - 25 * expected) < 1e-3 for answer in answers])
"""


def test_thread_pools_with_numpy_come_and_go_in_four_isolates(run_program: RunProgram) -> None:
    needs("numpy")

    assert check(run_program(CHURN)) == "[True, True, True, True]\n"


def test_thousands_of_short_threads_take_no_memory_with_them(run_program: RunProgram) -> None:
    done = run_program(
        """
        from pathlib import Path
        import atoll

        def many(count):
            import threading
            for _ in range(count // 8):
                threads = [threading.Thread(target=bytes, args=(100_000,)) for _ in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

        def private_kb():
            lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
            return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))

        with atoll.Interpreter(kind="isolate") as host:
            host.call(many, 800)
            before = private_kb()
            host.call(many, 8000)
            print(private_kb() - before)
        """
    )

    # A kilobyte a thread is what a thread cache of the wrong malloc would leave behind.
    assert int(check(done)) < 4000


def test_threads_of_an_isolate_share_its_interpreter_and_have_locals_of_their_own(isolate: atoll.Interpreter) -> None:
    def work() -> tuple[int, int, bool]:
        import threading

        local = threading.local()
        lock, barrier = threading.Lock(), threading.Barrier(8)
        seen: list[int] = []

        def one(number: int) -> None:
            local.number = number
            barrier.wait(30)
            with lock:
                seen.append(local.number)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(seen), sum(seen), hasattr(local, "number")

    assert isolate.call(work) == (8, 28, False)


def test_an_exception_in_a_thread_of_an_isolate_goes_to_its_excepthook(isolate: atoll.Interpreter) -> None:
    def work() -> list[str]:
        import threading

        caught: list[str] = []
        threading.excepthook = lambda args: caught.append(f"{args.exc_type.__name__}: {args.exc_value}")

        def fail() -> None:
            raise LookupError("no such island")

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        return caught

    assert isolate.call(work) == ["LookupError: no such island"]


def test_threads_of_an_isolate_use_channels(isolate: atoll.Interpreter) -> None:
    def work(jobs: atoll.Receiver[int], results: atoll.Sender[int]) -> None:
        import threading

        def double() -> None:
            for number in jobs:
                results.send(2 * number)

        threads = [threading.Thread(target=double) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    jobs, results = atoll.Channel[int](capacity=4), atoll.Channel[int](capacity=None)
    task = atoll.spawn(work, jobs.receiver, results.sender, kind="isolate")
    jobs.send_many(range(200))
    jobs.close()
    task.result(60)

    assert sorted(results.recv_many(200)) == [2 * number for number in range(200)]


def test_calls_from_several_threads_run_as_threads_in_the_isolate(isolate: atoll.Interpreter) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def meet(number: int) -> int:
        import sys
        import threading

        # All four must be inside at once for the barrier to open.
        barrier = sys.__dict__.setdefault("test_barrier", threading.Barrier(4))
        barrier.wait(30)
        return number

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda number: isolate.call(meet, number), range(4))) == [0, 1, 2, 3]


def test_python_code_runs_at_the_same_time_in_two_isolates(isolates: list[atoll.Interpreter]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def spin(mine: atoll.Sender[int], other: atoll.Receiver[int]) -> int:
        # Neither ends its loop, which never releases the GIL of its own will for long, before the other has begun.
        mine.send(1)
        turns = 0
        while not len(other):
            turns += 1
        return turns

    first, second = atoll.Channel[int](2), atoll.Channel[int](2)
    with ThreadPoolExecutor(2) as pool:
        calls = [
            pool.submit(isolates[0].call, spin, first.sender, second.receiver),
            pool.submit(isolates[1].call, spin, second.sender, first.receiver),
        ]
        assert all(call.result(60) >= 0 for call in calls)

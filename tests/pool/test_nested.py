"""Tasks that use the pool they run in: no deadlock, whatever they wait for."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable

import pytest
from tests.conftest import PATIENCE

import atoll

type OpenPool = Callable[..., atoll.Pool]


def square(value: int) -> int:
    return value * value


def fail() -> None:
    raise LookupError("inside")


def test_a_task_waits_for_a_call_of_its_own_pool(open_pool: OpenPool) -> None:
    pool = open_pool(1)

    def outer(value: int) -> int:
        return pool.submit(square, value).result() + 1

    assert pool.submit(outer, 3).result(PATIENCE) == 10
    assert [pool.submit(outer, number).result(PATIENCE) for number in range(5)] == [1, 2, 5, 10, 17]


def test_tasks_wait_for_tasks_that_wait_for_tasks(open_pool: OpenPool) -> None:
    pool = open_pool(2)

    def descend(depth: int) -> int:
        return 0 if depth == 0 else 1 + pool.submit(descend, depth - 1).result()

    assert pool.submit(descend, 6).result(PATIENCE) == 6


def test_all_workers_wait_at_once(open_pool: OpenPool) -> None:
    pool = open_pool(2)

    def total(value: int) -> int:
        return sum(pool.map(square, range(value)))

    assert list(pool.map(total, [10] * 8, chunksize=1)) == [285] * 8


def test_a_task_waits_by_other_means_for_calls_of_its_pool(open_pool: OpenPool) -> None:
    pool = open_pool(1)

    def outer() -> list[int]:
        import concurrent.futures

        futures = [pool.submit(square, number) for number in range(4)]
        concurrent.futures.wait(futures)
        return [future.result() for future in futures]

    assert pool.submit(outer).result(PATIENCE) == [0, 1, 4, 9]


def test_errors_inside_come_out(open_pool: OpenPool) -> None:
    pool = open_pool(1)

    def outer() -> None:
        pool.submit(fail).result()

    with pytest.raises(LookupError, match="inside"):
        pool.submit(outer).result(PATIENCE)


def test_a_task_takes_its_own_calls_back(open_pool: OpenPool) -> None:
    pool = open_pool(1)

    def outer() -> bool:
        return pool.submit(square, 2).cancel()

    assert pool.submit(outer).result(PATIENCE)
    assert pool.submit(square, 2).result(PATIENCE) == 4


def test_a_pool_that_tasks_use_shuts_down(kind: str) -> None:
    with atoll.Pool(2, kind) as pool:

        def outer(value: int) -> int:
            return pool.submit(square, value).result()

        futures = [pool.submit(outer, number) for number in range(6)]
        assert [future.result(PATIENCE) for future in futures] == [0, 1, 4, 9, 16, 25]
    with pytest.raises(RuntimeError):
        pool.submit(square, 1)


def test_a_task_outside_of_the_pool_may_use_it(pool: atoll.Pool) -> None:
    def outer(value: int) -> int:
        return pool.submit(square, value).result()

    assert atoll.run(outer, 5, kind="interpreter") == 25


def test_while_a_task_waits_the_waiting_thread_here_gets_its_result(open_pool: OpenPool) -> None:
    pool = open_pool(1)

    def outer(value: int) -> int:
        return pool.submit(square, value).result()

    results: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(pool.submit(outer, n).result(PATIENCE))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(results) == [n * n for n in range(8)]
    assert concurrent.futures.wait([pool.submit(square, 1)], PATIENCE).not_done == set()

"""Pool.map: order, chunks, limits, errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import PATIENCE

import atoll

type OpenPool = Callable[..., atoll.Pool]


def square(value: int) -> int:
    return value * value


def halve(value: int) -> float:
    return 10 / value


def test_results_come_in_order_whatever_the_chunks(pool: atoll.Pool) -> None:
    wanted = [number * number for number in range(1000)]
    assert list(pool.map(square, range(1000))) == wanted
    for chunksize in (1, 7, 1000, 5000):
        assert list(pool.map(square, range(1000), chunksize=chunksize)) == wanted


def test_several_iterables_end_with_the_shortest(pool: atoll.Pool) -> None:
    assert list(pool.map(pow, [2, 3, 4], [5, 6])) == [32, 729]
    assert list(pool.map(pow, range(100), itertools.repeat(2))) == [number**2 for number in range(100)]


def test_nothing_gives_nothing(pool: atoll.Pool) -> None:
    assert list(pool.map(square, [])) == []
    assert list(pool.map(square)) == []


def test_the_work_is_done_though_nobody_asks_for_it(open_pool: OpenPool) -> None:
    pool = open_pool(2)
    done = atoll.Channel[int](capacity=None)
    pool.map(done.sender.send, range(50))
    pool.shutdown()
    assert sorted(done.recv_many(100)) == list(range(50))


def test_a_failing_call_raises_in_its_place(pool: atoll.Pool) -> None:
    for chunksize in (None, 1, 3):
        results = pool.map(halve, [1, 2, 0, 5], chunksize=chunksize)
        assert [next(results), next(results)] == [10.0, 5.0]
        with pytest.raises(ZeroDivisionError):
            next(results)
        with pytest.raises(StopIteration):
            next(results)


def test_a_result_that_cannot_be_cloned_raises_in_its_place(pool: atoll.Pool) -> None:
    results = pool.map(lambda number: number if number < 2 else (step for step in ()), range(4))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(atoll.CloneError, match=r"cannot clone result \(generator\); send list\(result\) instead"):
        next(results)


def test_stop_iteration_of_a_call_is_an_error_like_others(pool: atoll.Pool) -> None:
    def stop(number: int) -> int:
        if number == 2:
            raise StopIteration
        return number

    results = pool.map(stop, range(4))
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(results)


def test_a_map_that_is_late_raises_timeout_error(pool: atoll.Pool) -> None:
    never = atoll.Channel[int]()
    results = pool.map(lambda _: never.receiver.recv(), range(4), timeout=0.05)
    with pytest.raises(TimeoutError, match="has not come within 0.05 s"):
        next(results)
    assert pool.submit(square, 3).result(PATIENCE) == 9


def test_closing_the_iterator_ends_the_rest(pool: atoll.Pool) -> None:
    never = atoll.Channel[int]()

    def first_or_wait(number: int) -> int:
        return number if number == 0 else never.receiver.recv()

    results: Any = pool.map(first_or_wait, range(100), chunksize=1)
    assert next(results) == 0
    results.close()
    assert pool.submit(square, 3).result(PATIENCE) == 9


def test_a_buffer_bounds_what_is_taken_from_the_input(open_pool: OpenPool) -> None:
    pool = open_pool(2)
    source = iter(range(100))
    results = pool.map(square, source, buffersize=5)
    assert next(source) == 5
    assert next(results) == 0
    with pytest.raises(TypeError, match="buffersize must be an integer or None"):
        pool.map(square, [1], buffersize=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="buffersize must be None or > 0"):
        pool.map(square, [1], buffersize=0)


def test_endless_input_is_taken_with_a_buffer(pool: atoll.Pool) -> None:
    results = pool.map(square, itertools.count(), buffersize=64)
    assert list(itertools.islice(results, 500)) == [number * number for number in range(500)]


def test_a_long_chunk_is_shared_with_idle_workers(open_pool: OpenPool) -> None:
    pool = open_pool(2)
    for worker in pool.workers:  # both are there
        pool.on(worker).submit(square, 1).result(PATIENCE)

    def busy(_: int) -> int:
        import time

        end = time.perf_counter() + 0.003
        while time.perf_counter() < end:
            pass
        return atoll._native.current_host()

    hosts = list(pool.map(busy, range(200)))
    assert len(set(hosts)) == 2
    assert 20 < hosts.count(hosts[0]) < 180


def test_input_that_fails_fails_the_call_of_map(pool: atoll.Pool) -> None:
    def broken() -> Any:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        pool.map(square, broken())


def test_arguments_that_cannot_be_cloned_are_named(pool: atoll.Pool) -> None:
    bad = [2, (step for step in ())]
    for chunksize in (None, 1, 3, 100):
        with pytest.raises(atoll.CloneError) as caught:
            pool.map(pow, range(20), [*range(10), bad, *range(20)], chunksize=chunksize)
        assert caught.value.path == "iterables[1][10][1]"


def test_progress_draws_a_bar(pool: atoll.Pool, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    assert list(pool.map(square, range(10), progress=True)) == [number * number for number in range(10)]
    assert "10/10" in capsys.readouterr().err

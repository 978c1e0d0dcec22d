"""Workers from their start to their end: initializers, replacement, resize, shutdown."""

from __future__ import annotations

import concurrent.futures
import gc
import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import PATIENCE

import atoll

type OpenPool = Callable[..., atoll.Pool]


def square(value: int) -> int:
    return value * value


def host() -> int:
    return atoll._native.current_host()


def set_up(value: int) -> None:
    atoll.worker_state().value = value


def read_state() -> Any:
    return getattr(atoll.worker_state(), "value", None)


def add(value: int) -> int:
    state = atoll.worker_state()
    state.total = getattr(state, "total", 0) + value
    return state.total


def fail() -> None:
    raise ValueError("no database")


def announce_and_take(sender: atoll.Sender[str], receiver: atoll.Receiver[Any]) -> Any:
    sender.send("here")
    return receiver.recv()


def test_the_initializer_runs_in_every_worker_before_its_calls(open_pool: OpenPool) -> None:
    pool = open_pool(2, initializer=set_up, initargs=(5,))
    assert [pool.on(worker).submit(read_state).result(PATIENCE) for worker in pool.workers] == [5, 5]


def test_calls_on_one_worker_do_not_disturb_its_initializer(open_pool: OpenPool) -> None:
    def slowly(value: int) -> None:
        import time

        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            pass
        atoll.worker_state().value = value

    pool = open_pool(2, initializer=slowly, initargs=(5,), max_tasks_per_child=2)
    futures = [pool.on(worker).submit(read_state) for worker in (0, 1) * 4]
    assert [future.result(PATIENCE) for future in futures] == [5] * 8


def test_an_initializer_that_fails_breaks_the_pool(open_pool: OpenPool, caplog: pytest.LogCaptureFixture) -> None:
    pool = open_pool(2, initializer=fail)
    with pytest.raises(atoll.BrokenPool, match="no database") as caught:
        pool.submit(square, 1).result(PATIENCE)
    assert isinstance(caught.value, concurrent.futures.BrokenExecutor)
    assert isinstance(caught.value, atoll.AtollError)
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(atoll.BrokenPool):
        pool.submit(square, 1)
    with pytest.raises(atoll.BrokenPool):
        pool.map(square, [1])
    assert pool.stats().is_broken
    assert "Exception in initializer" in caplog.text


def test_an_initializer_that_cannot_be_sent_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(atoll.CloneError, match="lock"):
        atoll.Pool(1, initializer=lambda: lock)
    with pytest.raises(atoll.CloneError, match=r"initargs\[0\]"):
        atoll.Pool(1, initializer=set_up, initargs=((step for step in ()),))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="workers=0"):
        atoll.Pool(0)
    with pytest.raises(TypeError, match="workers='two'"):
        atoll.Pool("two")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind='island'"):
        atoll.Pool(1, "island")
    with pytest.raises(TypeError, match="not callable"):
        atoll.Pool(1, initializer=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_tasks_per_child=0"):
        atoll.Pool(1, max_tasks_per_child=0)
    with atoll.Pool(1) as pool, pytest.raises(ValueError, match=r"cannot resize .* workers=0 .* shutdown\(\)"):
        pool.resize(0)


def test_a_worker_is_replaced_after_so_many_calls(open_pool: OpenPool) -> None:
    pool = open_pool(1, max_tasks_per_child=3)
    totals = [pool.submit(add, 1).result(PATIENCE) for _ in range(8)]
    assert totals == [1, 2, 3, 1, 2, 3, 1, 2]


def test_calls_on_one_worker_find_its_state(open_pool: OpenPool) -> None:
    pool = open_pool(2)
    first, second = pool.on(0), pool.on(1)
    assert [first.submit(add, 1).result(PATIENCE) for _ in range(3)] == [1, 2, 3]
    assert second.submit(add, 10).result(PATIENCE) == 10
    assert first.submit(host).result(PATIENCE) != second.submit(host).result(PATIENCE)


def test_there_is_no_worker_state_outside_of_a_pool() -> None:
    with pytest.raises(RuntimeError, match="runs in no pool"):
        atoll.worker_state()


def test_a_pool_grows_and_shrinks(open_pool: OpenPool) -> None:
    pool = open_pool(1)
    assert pool.submit(square, 2).result(PATIENCE) == 4
    pool.resize(3)
    assert len({pool.on(worker).submit(host).result(PATIENCE) for worker in range(3)}) == 3
    pool.resize(1)
    assert [pool.submit(square, number).result(PATIENCE) for number in range(5)] == [0, 1, 4, 9, 16]
    while len(pool.stats().workers) > 1:
        pool.submit(square, 1).result(PATIENCE)
    with pytest.raises(ValueError):
        pool.resize(0)


def test_shutdown_waits_for_every_call(open_pool: OpenPool) -> None:
    pool = open_pool(2)
    futures = [pool.submit(square, number) for number in range(100)]
    pool.shutdown()
    assert all(future._state == "FINISHED" for future in futures)
    assert futures[9].result() == 81
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(square, 1)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.map(square, [1])
    pool.shutdown()
    assert pool.stats().workers == ()


def test_shutdown_without_waiting_lets_calls_end(open_pool: OpenPool) -> None:
    pool = open_pool(2)
    futures = [pool.submit(square, number) for number in range(10)]
    pool.shutdown(wait=False)
    assert [future.result(PATIENCE) for future in futures] == [number**2 for number in range(10)]


def test_shutdown_cancels_what_waits_if_asked_to(open_pool: OpenPool) -> None:
    pool = open_pool(1)
    here, channel = atoll.Channel[str](), atoll.Channel[int]()
    running = pool.submit(announce_and_take, here.sender, channel.receiver)
    here.recv(PATIENCE)
    waiting = [pool.submit(square, number) for number in range(10)]
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    channel.send(7)
    assert running.result(PATIENCE) == 7


def test_a_pool_that_is_dropped_makes_its_calls_and_goes(kind: str) -> None:
    pool = atoll.Pool(1, kind, name="dropped")
    future = pool.submit(square, 3)
    over = pool._core.over
    del pool
    gc.collect()
    assert future.result(PATIENCE) == 9
    assert over.wait(PATIENCE)
    assert not [host for host in atoll.list_hosts() if host.name.startswith("dropped")]


def test_a_block_left_by_an_error_waits_for_the_calls(kind: str) -> None:
    futures = []
    with pytest.raises(OSError), atoll.Pool(1, kind) as pool:
        futures = [pool.submit(square, number) for number in range(5)]
        raise OSError
    assert [future.result(0) for future in futures] == [0, 1, 4, 9, 16]


def test_a_block_left_by_ctrl_c_cancels_the_calls(kind: str) -> None:
    here, channel = atoll.Channel[str](), atoll.Channel[int]()
    with pytest.raises(KeyboardInterrupt), atoll.Pool(1, kind) as pool:
        running = pool.submit(announce_and_take, here.sender, channel.receiver)
        waiting = pool.submit(square, 1)
        here.recv(PATIENCE)
        raise KeyboardInterrupt
    assert running.cancelled()
    assert waiting.cancelled()


def test_the_call_on_a_host_that_goes_away_fails_and_others_go_on(open_pool: OpenPool) -> None:
    pool = open_pool(1)
    here, channel = atoll.Channel[str](), atoll.Channel[int]()
    doomed = pool.submit(announce_and_take, here.sender, channel.receiver)
    here.recv(PATIENCE)
    atoll._native.close_host(pool.stats().workers[0].host_id, PATIENCE)  # type: ignore[arg-type]
    with pytest.raises((atoll.HostDied, concurrent.futures.CancelledError)):
        doomed.result(PATIENCE)
    assert pool.submit(square, 3).result(PATIENCE) == 9


def test_a_pool_inside_a_task_works_and_ends(kind: str) -> None:
    def outer() -> list[int]:
        with atoll.Pool(1, "interpreter") as inner:
            return list(inner.map(square, range(5)))

    assert atoll.run(outer, kind=kind) == [0, 1, 4, 9, 16]


def test_records_of_workers_arrive_in_the_handlers_here(open_pool: OpenPool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pool = open_pool(1)

    def log() -> None:
        import logging

        logger = logging.getLogger("islands")
        logger.debug("not wanted")
        logger.info("%d of %d", 1, 2)
        try:
            raise LookupError("lost")
        except LookupError:
            logger.exception("oh")

    pool.submit(log).result(PATIENCE)
    records = [record for record in caplog.records if record.name == "islands"]
    assert [record.getMessage() for record in records] == ["1 of 2", "oh"]
    assert records[1].exc_text is not None
    assert "LookupError: lost" in records[1].exc_text


def test_warnings_of_workers_arrive_here(kind: str) -> None:
    def warn() -> None:
        import warnings

        warnings.warn("low tide", DeprecationWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with atoll.Pool(1, kind) as pool:
            pool.submit(warn).result(PATIENCE)
    assert [(str(one.message), one.category) for one in caught] == [("low tide", DeprecationWarning)]


def test_filters_that_make_errors_of_warnings_do_so_in_workers(open_pool: OpenPool) -> None:
    def warn() -> None:
        import warnings

        warnings.warn("low tide", DeprecationWarning, stacklevel=1)

    with pytest.raises(DeprecationWarning, match="low tide"):  # as pytest is told to
        open_pool(1).submit(warn).result(PATIENCE)


def test_reports_can_be_left_out(open_pool: OpenPool, caplog: pytest.LogCaptureFixture) -> None:
    def log() -> None:
        import logging

        logging.getLogger("quiet").error("nobody hears this")

    open_pool(1, reports=False).submit(log).result(PATIENCE)
    assert not [record for record in caplog.records if record.name == "quiet"]


def test_stats_count(open_pool: OpenPool) -> None:
    pool = open_pool(2, name="counted")
    for number in range(10):
        pool.submit(square, number).result(PATIENCE)
    stats = pool.stats()
    assert (stats.name, stats.size, stats.submitted, stats.finished, stats.cancelled, stats.queued) == (
        "counted", 2, 10, 10, 0, 0,
    )  # fmt: skip
    assert sum(worker.calls for worker in stats.workers) == 10
    with pytest.raises(AttributeError):
        stats.size = 3  # type: ignore[misc]

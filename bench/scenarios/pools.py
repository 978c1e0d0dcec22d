"""Pools: `atoll.Pool` beside the executors of the standard library, each with two workers."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from statistics import median
from time import perf_counter
from typing import Any

from bench.scenarios.scenario import Contender, Scenario
from bench.scenarios.tasks import WORKERS, one_after_the_other, work

TASKS = 100_000
CHUNK = 200


def by_atoll() -> Executor:
    """`atoll.Pool` as it comes: isolates where they can be had."""
    import atoll

    return atoll.Pool(WORKERS)


def by_interpreters() -> Executor:
    """`InterpreterPoolExecutor`."""
    pool: Any = getattr(concurrent.futures, "InterpreterPoolExecutor")  # noqa: B009 (new in 3.14)
    executor: Executor = pool(max_workers=WORKERS)
    return executor


def by_processes() -> Executor:
    """`ProcessPoolExecutor`, forked."""
    return concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("fork"))


def by_threads() -> Executor:
    """`ThreadPoolExecutor`: one interpreter, so no copies."""
    return concurrent.futures.ThreadPoolExecutor(WORKERS)


MAKERS: dict[str, Callable[[], Executor]] = {
    "atoll": by_atoll,
    "ProcessPool": by_processes,
    "ThreadPool": by_threads,
}
if sys.version_info >= (3, 14):
    MAKERS["InterpreterPool"] = by_interpreters


def trip(make: Callable[[], Executor]) -> Contender:
    """The median time from submitting a call to having its result, in microseconds."""
    return one_after_the_other(lambda: make().submit)


def tiny_tasks(make: Callable[[], Executor], **options: int) -> Contender:
    """Tasks a second of `map` over 100,000 calls of the least that a task can do."""

    def contender(seconds: float) -> float:
        with make() as pool:
            list(pool.map(work, range(1000), chunksize=CHUNK))  # every worker has started
            rates: list[float] = []
            end = perf_counter() + seconds
            while not rates or perf_counter() < end:
                began = perf_counter()
                count = sum(1 for _ in pool.map(work, range(TASKS), **options))
                rates.append(count / (perf_counter() - began))
            return median(rates)

    return contender


POOLS = (
    Scenario(
        "pool_trip",
        "pool: submit to result",
        "µs",
        False,
        {name: trip(make) for name, make in MAKERS.items()},
    ),
    Scenario(
        "pool_map",
        f"pool.map of {TASKS:,}",
        "tasks/s",
        True,
        {name: tiny_tasks(make) for name, make in MAKERS.items()},
        patience=60.0,
    ),
    Scenario(
        "pool_map_chunks",
        f"the same, chunksize={CHUNK}",
        "tasks/s",
        True,
        {name: tiny_tasks(make, chunksize=CHUNK) for name, make in MAKERS.items() if name != "InterpreterPool"},
        patience=10.0,
    ),
)

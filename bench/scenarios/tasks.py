"""Tasks: from the call to its result, one after the other and many under way."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter, perf_counter_ns
from typing import Any

from bench.scenarios.scenario import Contender, Scenario, rate

WORKERS = 2
UNDER_WAY = 200
type Submit = Callable[[Callable[[int], int], int], Any]


def work(value: int) -> int:
    """The least that a task can do."""
    return value


def one_after_the_other(make: Callable[[], Submit]) -> Contender:
    """The median time from submitting a task to having its result, in microseconds."""

    def contender(seconds: float) -> float:
        submit = make()
        for _ in range(20):  # every worker has started
            submit(work, 1).result()
        trips: list[int] = []
        end = perf_counter() + seconds
        while perf_counter() < end:
            began = perf_counter_ns()
            submit(work, 1).result()
            trips.append(perf_counter_ns() - began)
        return median(trips) / 1000

    return contender


def many_under_way(make: Callable[[], Submit]) -> Contender:
    """Tasks a second, some hundred of them submitted before the first result is asked for."""

    def contender(seconds: float) -> float:
        submit = make()

        def measure(count: int) -> float:
            began = perf_counter()
            for _ in range(count // UNDER_WAY):
                for task in [submit(work, 1) for _ in range(UNDER_WAY)]:
                    task.result()
            return perf_counter() - began

        measure(UNDER_WAY)
        return rate(lambda count: measure(count // UNDER_WAY * UNDER_WAY), seconds, UNDER_WAY, 1 << 20)

    return contender


def by_atoll() -> Submit:
    """`atoll.spawn` on the default crew of interpreters."""
    import atoll

    return lambda function, value: atoll.spawn(function, value, kind="interpreter")


def by_interpreters() -> Submit:
    """`InterpreterPoolExecutor`."""
    pool: Any = getattr(concurrent.futures, "InterpreterPoolExecutor")  # noqa: B009 (new in 3.14)
    submit: Submit = pool(max_workers=WORKERS).submit
    return submit


def by_processes() -> Submit:
    """`ProcessPoolExecutor`, forked."""
    context = multiprocessing.get_context("fork")
    return concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context).submit


def by_threads() -> Submit:
    """`ThreadPoolExecutor`: one interpreter, so no copies."""
    return concurrent.futures.ThreadPoolExecutor(WORKERS).submit


MAKERS: dict[str, Callable[[], Submit]] = {
    "atoll": by_atoll,
    "ProcessPool": by_processes,
    "ThreadPool": by_threads,
}
if sys.version_info >= (3, 14):
    MAKERS["InterpreterPool"] = by_interpreters

TASKS = (
    Scenario(
        "task_trip",
        "submit to result",
        "µs",
        False,
        {name: one_after_the_other(make) for name, make in MAKERS.items()},
    ),
    Scenario(
        "task_many",
        f"{UNDER_WAY} under way",
        "tasks/s",
        True,
        {name: many_under_way(make) for name, make in MAKERS.items()},
    ),
)

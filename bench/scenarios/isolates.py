"""Isolates beside sub-interpreters and processes: parallel work, channels, start, memory, packages."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Protocol

from bench.packages import installed, working
from bench.rivals.lane import Lane
from bench.scenarios.scenario import Contender, Scenario
from bench.scenarios.streams import SMALL_DICT, one_by_one
from bench.scenarios.trips import hot, parked
from bench.work import answer_calls, import_numpy, nothing, numbers_and_loops

STARTS = 8
"""Fresh isolates in a process of the bench: fewer than fit."""


class Worker(Protocol):
    """A host, or what does the same for a rival."""

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Run a function in it and wait for its result."""

    def close(self) -> None:
        """End it."""


type Open = Callable[[], Worker]


# The workers -----------------------------------------------------------------------------------------------------


def isolate() -> Worker:
    """A fresh isolate, as long as the others are not closed."""
    import atoll

    return atoll.Interpreter(kind="isolate")


def sub_interpreter() -> Worker:
    """A sub-interpreter."""
    import atoll

    return atoll.Interpreter(kind="interpreter")


class Process:
    """A spawned process that answers calls over a pipe."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=answer_calls, args=(there,), daemon=True)
        self._process.start()
        there.close()

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        self._pipe.send((fn, args))
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.close()
        self._process.join()


class Thread:
    """A thread of this interpreter."""

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        return fn(*args)

    def close(self) -> None:
        pass


WORKERS: dict[str, Open] = {"isolate": isolate, "sub-interpreter": sub_interpreter, "spawned process": Process}


# In parallel -----------------------------------------------------------------------------------------------------


def two_against_one(make: Open) -> Contender:
    """The wall time of two workers that do the same work each, over that of one alone."""

    def contender(seconds: float) -> float:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # one core each is the question
        workers = [make(), make()]
        turns = 50
        while (took := wall_time(workers[:1], turns)) < seconds / 4:
            turns = int(turns * min(4.0, 0.3 * seconds / took)) + 1
        wall_time(workers, turns)
        alone, both = [], []
        for _ in range(5):
            alone.append(wall_time(workers[:1], turns))
            both.append(wall_time(workers, turns))
        return median(both) / median(alone)

    return contender


def wall_time(workers: Sequence[Worker], turns: int) -> float:
    """Seconds until all of them have done the work."""
    threads = [threading.Thread(target=worker.call, args=(numbers_and_loops, turns)) for worker in workers]
    began = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return perf_counter() - began


# Over channels ---------------------------------------------------------------------------------------------------


def isolate_lane() -> Lane:
    """Channels between main and an isolate."""
    from bench.rivals.atoll_lane import AtollLane

    return AtollLane("isolate")


def interpreter_lane() -> Lane:
    """Channels between main and a sub-interpreter."""
    from bench.rivals.atoll_lane import AtollLane

    return AtollLane("interpreter")


LANES: dict[str, Callable[[], Lane]] = {"isolate": isolate_lane, "sub-interpreter": interpreter_lane}


# At their start --------------------------------------------------------------------------------------------------


def fresh_start(make: Open, first: Callable[[], int]) -> Contender:
    """Milliseconds from wanting a worker to having its first answer, the median of fresh ones."""

    def contender(seconds: float) -> float:
        del seconds  # isolates are few: the number of starts is what is fixed
        times = []
        workers = []
        for _ in range(STARTS):
            began = perf_counter()
            worker = make()
            worker.call(first)
            times.append(perf_counter() - began)
            workers.append(worker)  # closed isolates would be used again
        return median(times) * 1000

    return contender


def open_again(make: Open, first: Callable[[], int]) -> Contender:
    """Milliseconds from wanting a worker to its first answer, after others were closed: isolates are parked then."""

    def contender(seconds: float) -> float:
        times: list[float] = []
        end = perf_counter() + seconds
        while perf_counter() < end or len(times) < 5:
            began = perf_counter()
            worker = make()
            worker.call(first)
            times.append(perf_counter() - began)
            worker.close()
        return median(times[1:]) * 1000

    return contender


# In memory -------------------------------------------------------------------------------------------------------


def memory(make: Open, first: Callable[[], int]) -> Contender:
    """Megabytes of proportional set size for each further worker, its process included if it has one."""

    def contender(seconds: float) -> float:
        del seconds
        workers = [make()]
        workers[0].call(first)  # the first pays for what all share
        before = proportional_set_size()
        for _ in range(4):
            workers.append(make())
            workers[-1].call(first)
        return (proportional_set_size() - before) / 4 / 1024

    return contender


def proportional_set_size() -> int:
    """Kilobytes of this process and its children."""
    return sum(
        int(line.split()[1])
        for process in family()
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )


def family() -> list[int]:
    """This process and its children."""
    found = [os.getpid()]
    for thread in Path("/proc/self/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return found


# With packages ---------------------------------------------------------------------------------------------------


def packages(kind: str) -> Contender:
    """How many of the packages do real work in four hosts at once."""

    def contender(seconds: float) -> float:
        del seconds
        return float(len(working(kind)))

    return contender


PATIENCE = 600.0

ISOLATES = (
    Scenario(
        "isolates_parallel",
        "twice the work on two, to once on one",
        "x wall time",
        False,
        {
            "2 isolates": two_against_one(isolate),
            "2 spawned processes": two_against_one(Process),
            "2 threads": two_against_one(Thread),
        },
    ),
    Scenario(
        "isolates_stream_int",
        "ints to an isolate, one by one",
        "messages/s",
        True,
        {lane: one_by_one(make, range, 100) for lane, make in LANES.items()},
    ),
    Scenario(
        "isolates_stream_dict",
        "small dicts to an isolate",
        "messages/s",
        True,
        {lane: one_by_one(make, lambda count: [SMALL_DICT] * count, 1000) for lane, make in LANES.items()},
    ),
    Scenario(
        "isolates_trip_hot",
        "round trip with an isolate, hot",
        "µs",
        False,
        {lane: hot(make) for lane, make in LANES.items()},
    ),
    Scenario(
        "isolates_trip_parked",
        "round trip with an isolate, parked",
        "µs",
        False,
        {lane: parked(make) for lane, make in LANES.items()},
    ),
    Scenario(
        "isolates_start",
        "a fresh one, to its first answer",
        "ms",
        False,
        {name: fresh_start(make, nothing) for name, make in WORKERS.items()},
    ),
    Scenario(
        "isolates_start_numpy",
        "a fresh one, to numpy's first answer",
        "ms",
        False,
        {name: fresh_start(make, import_numpy) for name, make in WORKERS.items()},
    ),
    Scenario(
        "isolates_reuse",
        "one opened after another was closed, to its first answer",
        "ms",
        False,
        {name: open_again(make, nothing) for name, make in WORKERS.items()},
    ),
    Scenario(
        "isolates_memory",
        "memory of each further one, bare",
        "MB",
        False,
        {name: memory(make, nothing) for name, make in WORKERS.items()},
    ),
    Scenario(
        "isolates_memory_numpy",
        "memory of each further one, numpy imported",
        "MB",
        False,
        {name: memory(make, import_numpy) for name, make in WORKERS.items()},
    ),
    Scenario(
        "isolates_packages",
        f"of {len(installed())} packages, those that work in four at once",
        "packages",
        True,
        {"isolate": packages("isolate"), "sub-interpreter": packages("interpreter")},
        PATIENCE,
    ),
)

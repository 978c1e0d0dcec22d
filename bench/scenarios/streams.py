"""Streams: one side sends as fast as it can, the other takes as fast as it can."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any

from bench.rivals.lane import BATCH, Lane
from bench.scenarios.scenario import Contender, Scenario, rate

SMALL_DICT = {
    "id": 17,
    "name": "ada",
    "score": 0.75,
    "tags": ["new", "east"],
    "address": {"city": "Turku", "zip": 20100},
}
MEMORY_LIMIT_BYTES = 1 << 30  # of messages under way: some queues know no bound


def atoll_lane() -> Lane:
    """Atoll's own lane; imported late, as every rival is, so that a process loads only what it measures."""
    from bench.rivals.atoll_lane import AtollLane

    return AtollLane()


def interpreters_lane() -> Lane:
    """The standard library's interpreters."""
    from bench.rivals.interpreters_lane import InterpretersLane

    return InterpretersLane()


def queue_lane() -> Lane:
    """multiprocessing.Queue."""
    from bench.rivals.process_lanes import QueueLane

    return QueueLane()


def simple_queue_lane() -> Lane:
    """multiprocessing.SimpleQueue."""
    from bench.rivals.process_lanes import SimpleQueueLane

    return SimpleQueueLane()


def pipe_lane() -> Lane:
    """multiprocessing.Pipe."""
    from bench.rivals.process_lanes import PipeLane

    return PipeLane()


def threads_lane() -> Lane:
    """Threads and queue.SimpleQueue."""
    from bench.rivals.threads_lane import ThreadsLane

    return ThreadsLane()


LANES: dict[str, Callable[[], Lane]] = {
    "atoll": atoll_lane,
    "interpreters.Queue": interpreters_lane,
    "mp.Queue": queue_lane,
    "mp.SimpleQueue": simple_queue_lane,
    "mp.Pipe": pipe_lane,
    "threads": threads_lane,
}


def one_by_one(make: Callable[[], Lane], messages: Callable[[int], Iterable[Any]], size_bytes: int) -> Contender:
    """A stream of single messages."""

    def contender(seconds: float) -> float:
        lane = make()
        limit = MEMORY_LIMIT_BYTES // size_bytes
        return rate(lambda count: lane.stream(messages(count), count), seconds, min(2000, limit // 8), limit)

    return contender


def in_batches(make: Callable[[], Lane]) -> Contender:
    """A stream of ints that the sender has in lists."""

    def contender(seconds: float) -> float:
        lane = make()
        batch = list(range(BATCH))
        return rate(lambda count: lane.batches(batch, count // BATCH * BATCH), seconds, 100 * BATCH, 1 << 30)

    return contender


def noise(size: int) -> bytes:
    """Bytes that are not all alike: a page of zeros would be kinder to a copy than real data."""
    return random.Random(size).randbytes(size)


def _stream(name: str, title: str, messages: Callable[[int], Iterable[Any]], size: int) -> Scenario:
    contenders = {lane: one_by_one(make, messages, size) for lane, make in LANES.items()}
    return Scenario(name, title, "messages/s", True, contenders)


STREAMS = (
    _stream("stream_int", "ints, one by one", range, 100),
    Scenario(
        "batch_int",
        f"ints, {BATCH:,} at a time",
        "messages/s",
        True,
        {lane: in_batches(make) for lane, make in LANES.items()},
    ),
    _stream("stream_list", f"lists of {BATCH:,} ints", lambda count: repeat(list(range(BATCH)), count), 30 * BATCH),
    _stream("stream_dict", "small dicts", lambda count: repeat(SMALL_DICT, count), 1000),
    _stream("stream_1kb", "1 KB bytes", lambda count: repeat(noise(1 << 10), count), 1 << 10),
    _stream("stream_1mb", "1 MB bytes", lambda count: repeat(noise(1 << 20), count), 1 << 20),
)

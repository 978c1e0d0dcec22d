"""A lane: two sides that pass messages both ways. Each rival is one."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any

from bench.peers import PARKED_SECONDS, READY

BATCH = 1000


class Lane(ABC):
    """This side of the two. `start` makes the other side run one of `bench.peers.JOBS`."""

    put: Callable[[Any], None]
    """Sends to the other side: the rival's own bound method, so that no call of ours is in the way."""

    get: Callable[[], Any]
    """Takes the next message of the other side."""

    @abstractmethod
    def launch(self, job: str, count: int) -> None:
        """Let the other side begin *job*."""

    @abstractmethod
    def finish(self) -> None:
        """Wait until the other side has ended its job."""

    def start(self, job: str, count: int = 0) -> None:
        """Launch *job* and wait until it runs."""
        self.launch(job, count)
        answer = self.get()
        assert answer == READY, answer

    def stream(self, messages: Iterable[Any], count: int) -> float:
        """The seconds that *count* messages take to the other side, sent one by one."""
        self.start("drain", count)
        put = self.put
        began = time.perf_counter()
        for message in messages:
            put(message)
        self.finish()
        return time.perf_counter() - began

    def batches(self, batch: list[int], count: int) -> float:
        """The seconds for *count* messages that may travel *batch* at a time: here, a list is one message."""
        return self.stream(repeat(batch, count // len(batch)), count // len(batch))

    def hot_trip(self, seconds: float) -> list[int]:
        """Nanoseconds of round trips made one right after the other."""
        self.start("echo")
        put, get, clock = self.put, self.get, time.perf_counter_ns
        trips: list[int] = []
        end = clock() + int(seconds * 1e9)
        while (began := clock()) < end or len(trips) < 10:
            put(1)
            get()
            trips.append(clock() - began)
        put(None)
        self.finish()
        return trips

    def parked_trip(self, seconds: float) -> list[int]:
        """Nanoseconds of round trips in which the receiving side sleeps, both ways."""
        self.start("late_echo")
        trips: list[int] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(trips) < 10:
            time.sleep(PARKED_SECONDS)
            self.put(time.perf_counter_ns())
            there, sent = self.get()
            trips.append(there + time.perf_counter_ns() - sent)
        self.put(None)
        self.finish()
        return trips

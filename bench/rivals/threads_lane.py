"""Threads of one interpreter with `queue.SimpleQueue`: no copies, and one GIL (where the build has one)."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any

from bench.peers import JOBS
from bench.rivals.lane import Lane


class ThreadsLane(Lane):
    """Two queues and a thread."""

    def __init__(self) -> None:
        out: SimpleQueue[Any] = SimpleQueue()
        back: SimpleQueue[Any] = SimpleQueue()
        self.put = out.put
        self.get = back.get
        self._there = (out.get, back.put)

    def launch(self, job: str, count: int) -> None:
        self._thread = threading.Thread(target=JOBS[job], args=(*self._there, count))
        self._thread.start()

    def finish(self) -> None:
        self._thread.join()

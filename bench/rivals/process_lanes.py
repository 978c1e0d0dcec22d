"""multiprocessing: Queue, SimpleQueue and Pipe, to a forked child."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from typing import Any

from bench.peers import JOBS
from bench.rivals.lane import Lane

DONE = "done"
# Forking starts fastest, and the way of starting plays no part in what is measured.
CONTEXT = multiprocessing.get_context("fork")


class ProcessLane(Lane):
    """What the three have in common: a child process and its word that the job is done."""

    def __init__(self, out: tuple[Any, Any], back: tuple[Any, Any]) -> None:
        self._there = (out[0], back[1])  # the child's get and put
        self.put = out[1]
        self.get = back[0]

    def launch(self, job: str, count: int) -> None:
        child = CONTEXT.Process(target=serve, args=(job, count, *self._there), daemon=True)
        child.start()

    def finish(self) -> None:
        answer = self.get()
        assert answer == DONE, answer


def serve(job: str, count: int, get: Callable[[], Any], put: Callable[[Any], None]) -> None:
    """The child's whole life."""
    JOBS[job](get, put, count)
    put(DONE)


class QueueLane(ProcessLane):
    """`multiprocessing.Queue`: a thread feeds the pipe."""

    def __init__(self) -> None:
        out: Any = CONTEXT.Queue()
        back: Any = CONTEXT.Queue()
        super().__init__((out.get, out.put), (back.get, back.put))


class SimpleQueueLane(ProcessLane):
    """`multiprocessing.SimpleQueue`: a pipe with a lock at each end."""

    def __init__(self) -> None:
        out: Any = CONTEXT.SimpleQueue()
        back: Any = CONTEXT.SimpleQueue()
        super().__init__((out.get, out.put), (back.get, back.put))


class PipeLane(ProcessLane):
    """`multiprocessing.Pipe`: bytes go as they are, by `send_bytes`."""

    def __init__(self) -> None:
        self._out_receiver, self._out_sender = CONTEXT.Pipe(duplex=False)
        receiver, sender = CONTEXT.Pipe(duplex=False)
        super().__init__((self._out_receiver.recv, self._out_sender.send), (receiver.recv, sender.send))

    def stream(self, messages: Iterable[Any], count: int) -> float:
        messages = iter(messages)
        first = next(messages)
        if isinstance(first, bytes):
            self._there = (self._out_receiver.recv_bytes, self._there[1])
            self.put = self._out_sender.send_bytes
        return super().stream(_again(first, messages), count)


def _again(first: Any, rest: Iterable[Any]) -> Iterable[Any]:
    yield first
    yield from rest

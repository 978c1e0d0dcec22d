"""Atoll: the main interpreter and a task in another of either kind, over two channels."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import atoll
from bench.peers import JOBS, READY
from bench.rivals.lane import Lane


class AtollLane(Lane):
    """Two channels and a task."""

    def __init__(self, kind: str = "interpreter", capacity: int = 1024) -> None:
        self._kind = kind
        self._capacity = capacity
        self._out = atoll.Channel[Any](capacity=capacity)
        self._back = atoll.Channel[Any](capacity=capacity)
        self.put = self._out.send
        self.get = self._back.recv

    def launch(self, job: str, count: int) -> None:
        self._task = atoll.spawn(serve, job, self._out.receiver, self._back.sender, count, kind=self._kind)

    def finish(self) -> None:
        self._task.result()

    def stream(self, messages: Iterable[Any], count: int) -> float:
        """One `send` a message; `for message in receiver` at the other end."""
        channel = atoll.Channel[Any](capacity=self._capacity)
        task = atoll.spawn(iterate, channel.receiver, self._back.sender, count, kind=self._kind)
        self.get()
        send = channel.send
        began = time.perf_counter()
        for message in messages:
            send(message)
        channel.close()
        task.result()
        return time.perf_counter() - began

    def batches(self, batch: list[int], count: int) -> float:
        """`send_many` and `recv_many`."""
        channel = atoll.Channel[int](capacity=8 * len(batch))
        task = atoll.spawn(take_many, channel.receiver, self._back.sender, len(batch), kind=self._kind)
        self.get()
        send_many = channel.send_many
        began = time.perf_counter()
        for _ in range(count // len(batch)):
            send_many(batch)
        channel.close()
        task.result()
        return time.perf_counter() - began


def serve(job: str, inbox: atoll.Receiver[Any], outbox: atoll.Sender[Any], count: int) -> None:
    """The other side of every round trip."""
    JOBS[job](inbox.recv, outbox.send, count)


def iterate(inbox: atoll.Receiver[Any], outbox: atoll.Sender[Any], count: int) -> None:
    """The other side of a stream."""
    outbox.send(READY)
    arrived = 0
    for _ in inbox:
        arrived += 1
    assert arrived == count, (arrived, count)


def take_many(inbox: atoll.Receiver[int], outbox: atoll.Sender[Any], size: int) -> None:
    """The other side of a stream of batches."""
    outbox.send(READY)
    try:
        while True:
            inbox.recv_many(size)
    except atoll.ChannelClosed:
        pass

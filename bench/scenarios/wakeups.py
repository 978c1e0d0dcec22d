"""How fast a coroutine goes on after somebody elsewhere has something for it: asyncio loops that sleep until then."""

from __future__ import annotations

import asyncio
import os
import struct
import threading
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from bench.scenarios.scenario import Contender, Scenario

PAUSE = 0.001
"""Seconds between two messages: time for the loop to fall asleep."""

STAMP = struct.Struct("q")

type Take = Callable[[], Awaitable[int]]
"""Waits for the next message: the moment, by the monotonic clock of the machine, at which it was sent."""


async def median_wakeup(take: Take, seconds: float) -> float:
    """Microseconds from the sending to the next step of the coroutine, the median."""
    await take()
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sent = await take()
        took.append((time.monotonic_ns() - sent) / 1000)
    return median(took)


def send_stamps(sender: Any, pause: float) -> None:
    """A task that sends the time, again and again."""
    from time import monotonic_ns, sleep

    while True:
        sleep(pause)
        sender.send(monotonic_ns())


def by_atoll(kind: str) -> Contender:
    """`await channel.arecv()`; the sender runs in another interpreter."""

    def contender(seconds: float) -> float:
        import atoll

        channel = atoll.Channel[int](capacity=None)
        task = atoll.spawn(send_stamps, channel.sender, PAUSE, kind=kind)
        figure = asyncio.run(median_wakeup(channel.arecv, seconds))
        task.cancel()
        return figure

    return contender


def by_thread(seconds: float) -> float:
    """`loop.call_soon_threadsafe` from a thread of the same interpreter."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[int] = loop.create_future()

        def arrive(stamp: int) -> None:
            if not waiting.done():
                waiting.set_result(stamp)

        over = threading.Event()

        def send() -> None:
            while not over.wait(PAUSE):
                loop.call_soon_threadsafe(arrive, time.monotonic_ns())

        async def take() -> int:
            nonlocal waiting
            waiting = loop.create_future()
            return await waiting

        sending = threading.Thread(target=send)
        sending.start()
        try:
            return await median_wakeup(take, seconds)
        finally:
            over.set()
            sending.join()

    return asyncio.run(main())


def by_process(seconds: float) -> float:
    """A pipe that another process writes to, read by asyncio."""

    async def main() -> float:
        read, write = os.pipe()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read, "rb"))

        async def take() -> int:
            stamp: int = STAMP.unpack(await reader.readexactly(STAMP.size))[0]
            return stamp

        pid = os.fork()
        if pid == 0:
            while True:
                time.sleep(PAUSE)
                os.write(write, STAMP.pack(time.monotonic_ns()))
        try:
            return await median_wakeup(take, seconds)
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)

    return asyncio.run(main())


WAKEUPS = (
    Scenario(
        "asyncio_wakeup",
        "asyncio wake-up from elsewhere",
        "µs",
        False,
        {
            "atoll": by_atoll("interpreter"),
            "atoll, isolate": by_atoll("isolate"),
            "thread, call_soon_threadsafe": by_thread,
            "process, asyncio pipe": by_process,
        },
    ),
)

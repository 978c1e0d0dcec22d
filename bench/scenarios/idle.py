"""What waiting costs: the processor time of 100 receivers that wait for a message that does not come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from bench.scenarios.scenario import Contender, Scenario

RECEIVERS = 100
IDLE_SECONDS = 10.0


def waiting(begin: Callable[[], None]) -> Contender:
    """Milliseconds of processor time that the waiting receivers use in ten seconds."""

    def contender(seconds: float) -> float:
        begin()
        # A full run waits the ten seconds; a quick one less, and the figure is scaled.
        idle = IDLE_SECONDS if seconds >= 1 else 2.0
        time.sleep(0.3)
        before = time.process_time()
        time.sleep(idle)
        return (time.process_time() - before) * 1000 * IDLE_SECONDS / idle

    return contender


def receive(inbox: Any, outbox: Any) -> None:
    """A task that waits."""
    outbox.send("here")
    inbox.recv()


def by_atoll() -> None:
    """100 tasks blocked in `recv`, each on its own channel."""
    import atoll

    here = atoll.Channel[str](capacity=RECEIVERS)
    channels = [atoll.Channel[Any](capacity=1) for _ in range(RECEIVERS)]
    tasks = [atoll.spawn(receive, channel.receiver, here.sender, kind="interpreter") for channel in channels]
    for _ in tasks:
        here.recv(timeout=30)
    _kept.extend([channels, tasks])


def by_interpreters() -> None:
    """100 threads blocked in `get` of the standard library's interpreter queue."""
    from bench.rivals.interpreters_lane import make_queue

    for _ in range(RECEIVERS):
        threading.Thread(target=make_queue().get, daemon=True).start()


def by_threads() -> None:
    """100 threads blocked in `get` of `queue.SimpleQueue`."""
    for _ in range(RECEIVERS):
        threading.Thread(target=SimpleQueue[Any]().get, daemon=True).start()


_kept: list[Any] = []  # a channel that nobody holds would close, and its receiver return
IDLE = (
    Scenario(
        "idle",
        f"{RECEIVERS} receivers waiting 10 s",
        "ms CPU",
        False,
        {
            "atoll": waiting(by_atoll),
            "interpreters.Queue": waiting(by_interpreters),
            "threads": waiting(by_threads),
        },
    ),
)

"""What the other side of a lane does: the same few loops for every rival."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

type Get = Callable[[], Any]
type Put = Callable[[Any], None]

READY = "ready"
# Long enough for the side that waits to have stopped spinning, whatever it is made of.
PARKED_SECONDS = 0.001


def drain(get: Get, put: Put, count: int) -> None:
    """Take *count* messages."""
    put(READY)
    for _ in range(count):
        get()


def echo(get: Get, put: Put, _: int) -> None:
    """Send every message back, until None comes."""
    put(READY)
    while (message := get()) is not None:
        put(message)


def late_echo(get: Get, put: Put, _: int) -> None:
    """Answer each message, a time stamp, only when the asker surely sleeps.

    The answer says how long the message took (both sides read the same monotonic clock) and when it was sent itself.
    """
    put(READY)
    while (sent := get()) is not None:
        took = time.perf_counter_ns() - sent
        time.sleep(PARKED_SECONDS)
        put((took, time.perf_counter_ns()))


JOBS: dict[str, Callable[[Get, Put, int], None]] = {
    "drain": drain,
    "echo": echo,
    "late_echo": late_echo,
}

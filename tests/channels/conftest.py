"""Threads whose outcome a test may ask for, and waits for a channel to reach a state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

import atoll

PATIENCE = 30.0


class Background[T]:
    """A function running in a thread of its own."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._value: T
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the thread hangs"
        if self._error is not None:
            raise self._error
        return self._value


@pytest.fixture
def start() -> Iterator[Callable[[Callable[[], object]], Background[object]]]:
    """Run a function in a thread; the test fails if it still runs at the end."""
    started: list[Background[object]] = []

    def begin(function: Callable[[], object]) -> Background[object]:
        started.append(Background(function))
        return started[-1]

    yield begin
    for background in started:
        background.thread.join(PATIENCE)
        assert not background.thread.is_alive(), "the thread hangs"


@pytest.fixture
def wait_for_blocked() -> Callable[..., None]:
    """Wait until so many threads are blocked in a send to or a receive from a channel."""
    return _wait_for_blocked


def _wait_for_blocked(channel: atoll.Channel[object], *, senders: int = 0, receivers: int = 0) -> None:
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while (stats := channel.stats()).blocked_senders < senders or stats.blocked_receivers < receivers:
        assert time.monotonic() < deadline, stats
        pause.wait(0.001)

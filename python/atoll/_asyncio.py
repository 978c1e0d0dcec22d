"""Waiting in asyncio: the coroutines behind `asend`, `arecv`, `async for` and `aselect`.

Every event loop that waits for channels has one reader: a descriptor that the engine makes readable while some of the
loop's waits may go on, and the futures of those waits by their numbers. There is no thread for a wait.

# Invariants

- L1 The loop's selector owns the reader, as part of the callback; here it is known by a weak reference. So it goes with
  the loop, and the descriptor is closed with it. No coroutine that waits holds it.
- L2 A future only says "look": the coroutine finishes its wait itself. One that is cancelled between the wake-up and
  its next step has taken nothing.
- L3 A verb that is done at once does not touch the loop, but every `TURNS`th time it lets the loop run first: before it
  takes anything, so that a cancellation that strikes there loses nothing.
- L4 A loop that sleeps hears that the task which runs it is cancelled (or, in a thread of the program's own, that the
  host closes): all its asyncio tasks are cancelled then. What was thrown at the thread is withdrawn, or has ended the
  loop already.
"""

from __future__ import annotations

import asyncio
import os
import types
import weakref
from collections.abc import Callable, Generator
from typing import Any

from . import _native
from ._errors import Cancellation, ChannelClosed

TURNS = 64
"""How many verbs may be done at once before the loop has its turn."""

_END = 0
"""The number that says: the task is cancelled, or the host closes."""

MISSING: Any = object()
"""Stands for a `default` that was not given."""

type Futures = dict[int, asyncio.Future[None]]
type End = _native.Channel[Any] | _native.Sender[Any] | _native.Receiver[Any]

_Waiting = _native.Waiting


class Reader:
    """What an event loop listens to, and which future waits under which number."""

    __slots__ = ("__weakref__", "_last", "_turns", "chime", "futures", "on_end")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.chime = _native.Chime()
        self.futures: Futures = {}
        self._last = 0
        self._turns = 0
        # What to do instead of cancelling all. (Not a method of its own: with a cycle, it would outlive its loop.)
        self.on_end: Callable[[], None] | None = None
        loop.add_reader(self.chime.descriptor, self._look)
        self.chime.watch(_END)

    def number(self) -> int:
        """A number for a wait that no other wait of this loop has."""
        self._last += 1
        return self._last

    def is_due(self) -> bool:
        """Whether the loop should have its turn before the next verb; counts the verb."""
        self._turns += 1
        if self._turns < TURNS:
            return False
        self._turns = 0
        return True

    def _look(self) -> None:
        try:
            for number in self.chime.take():
                future = self.futures.get(number)
                if future is not None:
                    wake(future)
                elif number == _END:
                    self._end()
        except Cancellation:  # thrown at this thread, at this moment: asyncio would report it and go on
            self._end()

    def _end(self) -> None:
        if self.on_end is not None:
            self.on_end()
            return
        self.chime.notice_cancellation()
        for task in asyncio.all_tasks():
            task.cancel()


def wake(future: asyncio.Future[None]) -> None:
    """Have the coroutine look; it may have been cancelled meanwhile."""
    if not future.done():
        future.set_result(None)


_readers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Reader]] = weakref.WeakKeyDictionary()
# A forked child shares the descriptors of its parent's loops; its own loops need descriptors of their own.
os.register_at_fork(after_in_child=_readers.clear)


def reader_here() -> Reader:
    """The reader of the loop that runs in this thread, made when it is first wanted.

    Raises RuntimeError if no asyncio loop runs here.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "cannot wait asynchronously (no asyncio event loop runs in this thread); "
            "use the blocking verb, with trio through trio.to_thread.run_sync"
        ) from None
    known = _readers.get(loop)
    reader = known() if known is not None else None
    if reader is None:
        reader = Reader(loop)
        _readers[loop] = weakref.ref(reader)
    return reader


@types.coroutine
def _turn() -> Generator[None]:
    """Let the loop run its other callbacks once."""
    yield


async def asend(end: End, value: object) -> None:
    reader = reader_here()
    if reader.is_due():
        await _turn()
    number = reader.number()
    waiting = reader.chime.send(end, value, number)
    if waiting is not None:
        futures = reader.futures
        del reader, value
        await outcome_of(waiting, number, futures)


async def arecv(end: End) -> Any:
    reader = reader_here()
    if reader.is_due():
        await _turn()
    number = reader.number()
    got = reader.chime.recv(end, number)
    if type(got) is not _Waiting:
        return got
    futures = reader.futures
    del reader
    return await outcome_of(got, number, futures)


async def receive_next(end: End) -> Any:
    try:
        return await arecv(end)
    except ChannelClosed:
        len(end)  # an end that was given up is an error, as in a `for` loop
        raise StopAsyncIteration from None


async def aselect(cases: tuple[Any, ...], default: Any, timeout: Any) -> tuple[object, Any]:
    reader = reader_here()
    if reader.is_due():
        await _turn()
    if default is not MISSING:
        return _native.select(*cases, default=default)
    number = reader.number()
    got = reader.chime.select(number, timeout, *cases)
    if not isinstance(got, _Waiting):
        return got
    futures = reader.futures
    del reader, cases
    answer: tuple[object, Any] = await outcome_of(got, number, futures)
    return answer


async def outcome_of(waiting: _native.Waiting, number: int, futures: Futures) -> Any:
    """Wait until *waiting*, begun under *number*, has an outcome. Cancelled, it is withdrawn."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            future = futures[number] = loop.create_future()
            left = waiting.seconds_left
            timer = None if left is None else loop.call_later(left, wake, future)
            try:
                await future
            finally:
                if timer is not None:
                    timer.cancel()
            outcome = waiting.finish()
            if outcome is not waiting:
                return outcome
    except asyncio.CancelledError:
        outcome = waiting.cancel()
        if outcome is waiting:
            raise
        _cancel_later()
        return outcome
    finally:
        waiting.cancel()
        futures.pop(number, None)


def _cancel_later() -> None:
    """The other side of a rendezvous was faster than the cancellation: it strikes at the task's next `await`.

    Not by `cancel()` here: a task that returns in this very step would lose its result to it.
    """
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().call_soon(_strike, task)


def _strike(task: asyncio.Task[Any]) -> None:
    # A timeout that is over meanwhile has taken its request back.
    if not task.done() and task.cancelling():
        task.uncancel()
        task.cancel()

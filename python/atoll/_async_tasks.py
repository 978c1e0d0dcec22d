"""The event loop of a host, where the coroutines of its tasks run: as many as there are, on one thread.

A thread of the host takes the job and calls the function, which for an `async def` function only makes the coroutine;
then it hands the job over and takes the next one. The loop comes up with the first coroutine and stays until the host
closes, so what is bound to it (a connection pool, say) may be kept between tasks.

# Invariants

- A1 Every job that was handed over is finished by the asyncio task that stands for it, whatever happens in there.
- A2 A cancellation of the task cancels that asyncio task, once for each request; nothing is thrown at the thread.
- A3 A host that closes cancels every asyncio task of its loop, again and again for those that swallow it, and the loop
  ends when all have ended. The threads that leave a closing host wait for that, so its interpreter ends after it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any

from . import _agent, _native, _rules
from ._asyncio import reader_here
from ._errors import Cancellation

FIRST_GRACE = 0.2
"""Seconds for coroutines to end after the first cancellation of a closing host; doubled each time."""

current: ContextVar[tuple[int, str | None, int] | None] = ContextVar("atoll task", default=None)
"""The task that a coroutine belongs to: id, name, host."""

type Job = _native.Job
type Body = Coroutine[Any, Any, Any]

_lock = threading.Lock()
_loop: HostLoop | None = None


def hand_over(job: Job, body: Body) -> None:
    """Have the coroutine of this job run on the host's loop. Called on the thread that took the job, which goes on."""
    global _loop
    job.depart()
    with _lock:
        if _loop is None:
            _loop = HostLoop()
        loop = _loop
    loop.take(job, body)


def wait_for_end() -> None:
    """Wait until the loop of a closing host has ended."""
    with _lock:
        loop = _loop
    if loop is not None:
        loop.join()


def _no_more(loop: HostLoop) -> None:
    global _loop
    with _lock:
        if _loop is loop:
            _loop = None


class HostLoop:
    """One event loop and its thread."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=_loop_factory())
        self._loop = self._runner.get_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self._coming = 0
        self._ended = False
        self._host = _native.current_host()
        self._thread = threading.Thread(target=self._run, name="atoll event loop")
        self._thread.start()

    def take(self, job: Job, body: Body) -> None:
        with self._lock:
            if self._ended:
                raise Cancellation("the interpreter is closing")
            self._coming += 1
            self._loop.call_soon_threadsafe(self._start, job, body)

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._runner:
                self._runner.run(self._live())
        finally:
            _no_more(self)

    async def _live(self) -> None:
        """Until the host closes, and all has ended."""
        closing = asyncio.Event()
        reader_here().on_end = closing.set
        await closing.wait()
        own = asyncio.current_task()
        grace = FIRST_GRACE
        while not self._end_if_idle(own):
            left = [task for task in asyncio.all_tasks() if task is not own]
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=grace)
                grace *= 2
            else:
                await asyncio.sleep(0)  # a job is on its way to `_start`

    def _end_if_idle(self, own: asyncio.Task[Any] | None) -> bool:
        with self._lock:
            self._ended = self._coming == 0 and asyncio.all_tasks() <= {own}
            return self._ended

    def _start(self, job: Job, body: Body) -> None:
        with self._lock:
            self._coming -= 1
        context = Context()
        context.run(current.set, (job.id, job.name, self._host))
        work = _Work(job, body)
        work.task = self._loop.create_task(work.perform(), name=job.name, context=context)
        # The loop itself knows its tasks by weak references.
        self._tasks.add(work.task)
        work.task.add_done_callback(self._tasks.discard)
        work.task.add_done_callback(work.see_to_end)
        work.watch()


class _Work:
    """One job on the loop."""

    __slots__ = ("_body", "_job", "_number", "_reader", "task")

    task: asyncio.Task[None]

    def __init__(self, job: Job, body: Body) -> None:
        self._job = job
        self._body: Body | None = body
        self._reader = reader_here()
        self._number = self._reader.number()

    def watch(self) -> None:
        """Hear of the next cancellation."""
        rung = asyncio.get_running_loop().create_future()
        rung.add_done_callback(self._cancel)
        self._reader.futures[self._number] = rung
        self._job.watch(self._reader.chime, self._number)

    def _cancel(self, _: object) -> None:
        if self.task.done():
            return
        self._job.notice_cancellation()
        self.task.cancel()
        self.watch()

    def see_to_end(self, _: object) -> None:
        """A task that was cancelled before its first step has not performed anything."""
        body, self._body = self._body, None
        if body is not None:
            body.close()
            _agent.end(self._job, asyncio.CancelledError())
        self._reader.futures.pop(self._number, None)

    async def perform(self) -> None:
        job = self._job
        body, self._body = self._body, None
        assert body is not None
        if _agent.around_task is not None:
            body = _rules.run_coroutine(body)
        try:
            try:
                value = await body
            finally:
                del body
        except BaseException as error:
            # SystemExit and KeyboardInterrupt, too: they end their task, not the loop.
            _agent.end(job, error)
        else:
            _agent.succeed(job, value)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """In an isolate uvloop, where it is installed; an interpreter cannot import it."""
    if _agent.around_task is not None:
        try:
            import uvloop  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            pass
        else:
            factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
            return factory
    return asyncio.new_event_loop

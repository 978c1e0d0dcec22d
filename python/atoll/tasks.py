"""Functions that run in other interpreters: `spawn`, `Task`, `run`, `running`.

A task is one running function. It occupies a thread of some host's interpreter, has an outcome, and can be cancelled.
Its handle, the Task, lives in the interpreter that made it and has `threading.Thread`'s shape besides a future's.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn, Self

from . import _agent, _exit, _native, _shipping, _streams
from ._errors import AtollError, ChannelClosed, ChannelEmpty, HostDied, HostUnavailable, RemoteTraceback, TaskCancelled
from ._failures import load_failure

__all__ = ["Task", "run", "running", "spawn"]

CANCEL_WAIT = 0.1
"""Seconds `Task.cancel` waits to learn whether the cancellation was delivered."""


class Task[T]:
    """A function that runs, or is about to run, in another interpreter.

    Made by `spawn`, which also starts it, or here and then `start()`ed like a `threading.Thread`. Arguments and result
    are cloned; the function travels by name if it is importable, else by value. *kind* says what it runs in, as for
    `Interpreter`: an `isolate`, a sub-`interpreter`, or, `auto`, an isolate if there is one. Dropping a Task does not
    stop it. If a task fails and nobody ever asks for its outcome, the error goes to `sys.unraisablehook` once.

    Raises TypeError if *target* is not callable or *kwargs* has keys that are no strings.

        task = atoll.Task(target=math.sqrt, args=(2.0,), name="root")
        task.start()
        task.result()      # 1.4142135623730951
    """

    __slots__ = (
        "__weakref__", "_args", "_asked", "_end", "_handle", "_kind", "_kwargs", "_lock", "_name", "_outcome", "_raw",
        "_target",
    )  # fmt: skip

    def __init__(
        self,
        target: Callable[..., T],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        kind: str = "auto",
    ) -> None:
        self._handle: _native.TaskHandle | None = None
        self._asked = False
        if not callable(target):
            raise TypeError(f"cannot make a task of {target!r} (it is not callable); pass a function")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"cannot name a task {name!r} (a {type(name).__name__}); pass a str")
        if not isinstance(kind, str):
            raise TypeError(f"cannot run a task on kind={kind!r} (not a str); use kind='auto'")
        self._target: Callable[..., T] | None = target
        self._args = tuple(args)
        self._kwargs = dict(kwargs) if kwargs else {}
        for key in self._kwargs:
            if not isinstance(key, str):
                raise TypeError(f"cannot pass a keyword argument named {key!r} (a {type(key).__name__}); names are str")
        self._kind = kind
        self._name = name
        self._lock = threading.Lock()
        self._raw: tuple[str, Any] | None = None
        self._outcome: tuple[str, Any] | None = None
        self._end: _native.Receiver[int] | None = None

    @property
    def id(self) -> int | None:
        """The task's number, unique in this process; None before `start`."""
        return None if self._handle is None else self._handle.id

    @property
    def name(self) -> str:
        """The given name, else `task-<id>`, else (before `start`) the function's name."""
        if self._name is not None:
            return self._name
        if self._handle is not None:
            return f"task-{self._handle.id}"
        return getattr(self._target, "__name__", type(self._target).__name__)

    def start(self) -> None:
        """Ship the function and its arguments and let them run.

        Blocks only for a new worker to come up (milliseconds, a few times in a process). Raises RuntimeError on a
        second call, CloneError if something cannot leave this interpreter, HostUnavailable if *kind* cannot be had.

            task.start()
        """
        with self._lock:
            if self._handle is not None:
                raise RuntimeError(f"cannot start task {self.name!r} (it was started already); make a new Task")
            if _orphans.handles:
                _orphans.sweep()
            target = self._target
            assert target is not None
            how, where, ends, region = _shipping.pack(target, _shipping.new_path())
            payload = (how, where, ends, self._args, self._kwargs)
            self._handle = _native.submit(None, self._kind, payload, region, self._name)
            # As threading does: a started task needs them no more, and they may be large.
            self._target = None
            self._args = ()
            self._kwargs = {}

    def result(self, timeout: float | None = None) -> T:
        """Wait for the task to end and return what its function returned.

        Blocks up to *timeout* seconds (None: for ever, 0: not at all); signals still arrive. Raises the task's own
        exception with the remote traceback as its cause, TaskCancelled if it ended by `cancel`, HostDied if its host
        went away, TimeoutError if it still runs, RuntimeError if it was never started.

            atoll.spawn(math.sqrt, 2.0).result(timeout=1.0)
        """
        how, value = self._ended("get the result of", timeout)
        if how == "ok":
            result: T = value
            return result
        if how == "cancelled":
            self._raise_cancelled("get the result of")
        try:
            raise value
        finally:
            # The traceback of `value` refers to this frame: without this, a cycle.
            del self, value

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait in asyncio for the task to end; what `result()` returns or raises.

        Waits without a thread. Cancelling the coroutine that waits leaves the task alone, as it may have other waiters:
        call `cancel()` to end it, too. Raises what `result` raises, and RuntimeError where no asyncio event loop runs.

            root = await atoll.spawn(math.sqrt, 2.0)
        """
        return self._result_later().__await__()

    async def _result_later(self) -> T:
        if not self._started("await").done():
            try:
                await self._told_of_end().arecv()
            except ChannelClosed:
                pass
        return self.result(0)

    def _told_of_end(self) -> _native.Receiver[int]:
        """Closes when the task ends: the engine has the only sender, so one is enough for any number of waiters."""
        with self._lock:
            if self._end is None:
                channel: _native.Channel[int] = _native.Channel(1)
                self._end = channel.receiver
                self._started("await").notify(channel.sender, 0)
            return self._end

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the task to end and return the exception it ended by, or None if it returned.

        Blocks like `result`. Raises TaskCancelled, TimeoutError and RuntimeError like `result`.

            if (error := task.exception()) is not None: log(error)
        """
        how, value = self._ended("get the exception of", timeout)
        if how == "cancelled":
            self._raise_cancelled("get the exception of")
        error: BaseException | None = None if how == "ok" else value
        return error

    def join(self, timeout: float | None = None) -> None:
        """Wait for the task to end, however it ends. Returns None in any case, as `threading.Thread.join` does.

        Blocks up to *timeout* seconds; ask `is_alive()` whether it was enough. Raises RuntimeError before `start`.

            task.join(1.0)
        """
        self._started("join").wait(timeout)

    def done(self) -> bool:
        """Whether the task has ended, in whatever way. Never blocks.

        task.done()
        """
        return self._handle is not None and self._handle.done()

    def is_alive(self) -> bool:
        """Whether the task was started and has not ended. Never blocks.

        task.is_alive()
        """
        return self._handle is not None and not self._handle.done()

    def cancelled(self) -> bool:
        """Whether the task ended by `cancel`. A task that caught the Cancellation and returned was not cancelled.

        task.cancelled()
        """
        return self.done() and self._settle()[0] == "cancelled"

    def cancel(self) -> bool:
        """Throw `atoll.Cancellation` into the task at its next bytecode; every wait of Atoll in it ends at once.

        Blocks up to 0.1 s to see what comes of it. Returns True if the task has ended or the Cancellation was
        delivered; False if it is still inside C code, which cannot be stopped: the Cancellation strikes when that
        code returns. Raises RuntimeError before `start`.

            task.cancel()
        """
        return self._started("cancel").cancel(CANCEL_WAIT)

    def __repr__(self) -> str:
        handle = self._handle
        if handle is None:
            state = "not started"
        elif not handle.done():
            state = "running"
        else:
            state = {"ok": "returned", "error": "failed"}.get(how := self._settle()[0], how)
        return f"<atoll.Task {self.name!r} {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Task stays in the interpreter that made it; send a Sender and let the task answer on it")

    def __del__(self) -> None:
        handle = self._handle
        if handle is None or self._asked or sys.is_finalizing():
            return
        try:
            if not handle.done():
                _orphans.adopt(handle, self.name)
                return
            how, value = self._settle()
        except AtollError:  # a forked child knows nothing of the tasks of its parent
            return
        if how in ("error", "died"):
            _raise_unclaimed(self.name, value)

    @classmethod
    def _of(cls, handle: _native.TaskHandle) -> Self:
        """The Task of a job that was submitted elsewhere."""
        task = cls(_nothing, name=handle.name)
        task._target = None
        task._handle = handle
        return task

    def _started(self, verb: str) -> _native.TaskHandle:
        if self._handle is None:
            raise RuntimeError(f"cannot {verb} task {self.name!r} (it was not started); call start() first")
        return self._handle

    def _ended(self, verb: str, timeout: float | None) -> tuple[str, Any]:
        """Wait for the end; whoever comes here has asked for the outcome."""
        if not self._started(verb).wait(timeout):
            raise TimeoutError(f"cannot {verb} task {self.name!r} (it still runs after {timeout} s); wait longer")
        self._asked = True
        return self._settle()

    def _settle(self) -> tuple[str, Any]:
        """How a task that is done ended, decoded once: ok, error, cancelled or died, and the value or exception."""
        if self._outcome is None:
            with self._lock:
                if self._outcome is None:
                    assert self._handle is not None
                    if self._raw is None:
                        self._raw = self._handle.outcome()
                    self._outcome = _decoded(self._raw)
                    self._raw = None
        return self._outcome

    def _raise_cancelled(self, verb: str) -> NoReturn:
        raise TaskCancelled(f"cannot {verb} task {self.name!r} (it was cancelled); check cancelled() first")


def spawn[T](
    fn: Callable[..., T], /, *args: Any, kind: str = "auto", name: str | None = None, **kwargs: Any
) -> Task[T]:
    """Run `fn(*args, **kwargs)` in another interpreter, of that *kind*, and return its Task at once.

    Blocks only for a new worker to come up. Raises TypeError if *fn* is not callable, CloneError if it or an argument
    cannot leave this interpreter, HostUnavailable if *kind* cannot be had here.

        task = atoll.spawn(sum, [1, 2, 3])
        task.result()      # 6
    """
    task = Task(fn, args, kwargs, name=name, kind=kind)
    task.start()
    return task


def run[T](fn: Callable[..., T], /, *args: Any, kind: str = "auto", **kwargs: Any) -> T:
    """Run `fn(*args, **kwargs)` in another interpreter, of that *kind*, and return its result.

    Blocks until the call has ended; an interruption (Ctrl-C, a cancellation of the calling task) cancels it and is
    raised. Raises whatever the call raises, and what `spawn` raises.

        atoll.run(math.factorial, 20)
    """
    return wait_or_cancel(spawn(fn, *args, kind=kind, **kwargs))


def wait_or_cancel[T](task: Task[T]) -> T:
    """The task's result; the task is cancelled if the wait for it is interrupted."""
    try:
        return task.result()
    except BaseException:
        if not task.done():
            task._asked = True
            task._started("cancel").cancel(0.0)
        raise
    finally:
        # The traceback of what the task raised refers to this frame: without this, a cycle.
        del task


class RunningTask(NamedTuple):
    """The task that the calling code is part of."""

    id: int
    name: str
    host_id: int


def running() -> RunningTask | None:
    """The task that this thread or coroutine runs in, or None outside of any task. Never blocks.

    atoll.run(lambda: atoll.running().name)      # 'task-1'
    """
    current = _agent.coroutines_task() or _native.current_task()
    if current is None:
        return None
    task_id, name, host_id = current
    return RunningTask(task_id, name if name is not None else f"task-{task_id}", host_id)


def _nothing() -> Any:
    """Stands for the function of a job that has none."""


# Outcomes --------------------------------------------------------------------------------------------------------


def _decoded(outcome: tuple[str, Any]) -> tuple[str, Any]:
    how, value = outcome
    if how == "error":
        return how, load_failure(value)
    if how == "died":
        return how, HostDied(value)
    if how == "unavailable":
        return "died", HostUnavailable(value)
    return how, value


class _Orphans:
    """Tasks that run on after their Task was dropped: their failures must still reach someone.

    Each tells an unbounded channel when it ends; the channel is looked at whenever a task is started, and at exit.
    """

    def __init__(self) -> None:
        self.handles: dict[int, tuple[_native.TaskHandle, str]] = {}
        self._ended: _native.Channel[int] | None = None

    def adopt(self, handle: _native.TaskHandle, name: str) -> None:
        if self._ended is None:
            self._ended = _native.Channel(None)
        self.handles[handle.id] = (handle, name)
        handle.notify(self._ended.sender, handle.id)

    def sweep(self) -> None:
        """Report those that have failed since the last time."""
        ended = self._ended
        while ended is not None:
            try:
                task_id = ended.recv_nowait()
            except (ChannelEmpty, ChannelClosed):
                return
            self._report(task_id)

    def sweep_all(self) -> None:
        """Report all that have failed; for the end of the interpreter, when no channel is to be relied on."""
        for task_id, (handle, _) in list(self.handles.items()):
            if handle.done():
                self._report(task_id)

    def _report(self, task_id: int) -> None:
        handle, name = self.handles.pop(task_id, (None, ""))
        if handle is not None:
            how, value = _decoded(handle.outcome())
            if how in ("error", "died"):
                _Unclaimed(name, value)


class _Unclaimed:
    """Dies at once, with an error: the way to `sys.unraisablehook` that is open to Python code."""

    def __init__(self, name: str, error: BaseException) -> None:
        self._name = name
        self._error = error

    def __del__(self) -> None:
        _raise_unclaimed(self._name, self._error)


def _raise_unclaimed(name: str, error: BaseException) -> None:
    """Raise what says all there is to say: the hook prints no causes, so the remote traceback is in the text."""
    if not isinstance(error, SystemExit):
        remote = error.__cause__ if isinstance(error.__cause__, RemoteTraceback) else f"{type(error).__name__}: {error}"
        raise AtollError(
            f"task {name!r} failed and nobody asked for its outcome; call result() or exception()\n{remote}"
        ) from error


_orphans = _Orphans()
_exit.register(_orphans.sweep_all)
_streams.share()

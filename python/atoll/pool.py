"""`Pool`: an executor of `concurrent.futures` whose workers are interpreters of this process.

The public face; what is inside is in `_pool`.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from . import _environment, _exit, _native, _shipping
from ._errors import AtollError, CloneError
from ._pool.core import Core
from ._pool.future import PoolFuture
from ._pool.map import Mapping, progress_bar
from ._pool.worker import worker_state

__all__ = ["BrokenPool", "Pool", "PoolStats", "worker_state"]

_numbers = itertools.count()
_open: weakref.WeakSet[Core] = weakref.WeakSet()


class BrokenPool(AtollError, BrokenExecutor):
    """The pool can do nothing any more: no worker starts, or the initializer failed, which is the cause.

    Not with the other errors, since `concurrent.futures` is too much for `import atoll`.
    """

    code = "broken_pool"


class Pool(Executor):
    """Workers, each an interpreter of its own, that make the calls which are submitted: an Executor in full.

    *workers* is their number (None: one per core), *kind* what they are, as for `Interpreter`: an `isolate`, a
    sub-`interpreter`, or `auto`. They start in the background at once. *initializer* runs in each, with *initargs*,
    before its first call; if it fails the pool is broken. A worker that has made *max_tasks_per_child* calls is
    replaced by a fresh interpreter. *name*, or *thread_name_prefix*, begins the names of the hosts.

    Functions of scripts and notebooks travel by value: no `if __name__ == "__main__"` is needed. Arguments and results
    are cloned. With *reports* what workers log and warn of arrives in this interpreter's handlers. Of each variable in
    *context* the value at `submit` is set around the call. Leaving the `with` block waits for all calls; left by a
    KeyboardInterrupt or a Cancellation, it cancels them.

    Raises HostUnavailable if *kind* cannot be had, CloneError if the initializer cannot leave this interpreter.

        with atoll.Pool() as pool:
            print(list(pool.map(math.sqrt, range(10))))
    """

    def __init__(
        self,
        workers: int | None = None,
        kind: str = "auto",
        *,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        max_tasks_per_child: int | None = None,
        thread_name_prefix: str = "",
        name: str | None = None,
        reports: bool = True,
        context: Iterable[ContextVar[Any]] = (),
    ) -> None:
        _check_count("workers", workers)
        _check_count("max_tasks_per_child", max_tasks_per_child)
        _check_kind(kind)
        if initializer is not None and not callable(initializer):
            raise TypeError(f"cannot initialize workers with {initializer!r} (it is not callable); pass a function")
        _native.host_running(_exit.MAIN_HOST)  # raises in a forked child
        initargs = tuple(initargs)
        shipment = None
        if initializer is not None:
            how, target, ends, region = _shipping.pack(initializer, _shipping.new_path())
            shipment = (how, target, ends, None if region is None else region.bytes())
        try:
            _native.clone(initargs)
        except CloneError as error:
            path = "initargs" + error.path.removeprefix("value")
            raise CloneError(path, error.type_name, hint=error.hint) from None
        self._context = _shipped_variables(context)
        self._name = name or thread_name_prefix or f"pool-{next(_numbers)}"
        config = None
        if reports:
            from ._pool.reports import settings as settings_of_reports

            config = settings_of_reports()
        settings = {
            "initializer": shipment,
            "initargs": initargs,
            "max_tasks": max_tasks_per_child,
            "reports": config,
        }
        self._core: Any = Core(workers or os.process_cpu_count() or 1, kind, self._name, settings, BrokenPool)
        _open.add(self._core)

    @property
    def name(self) -> str:
        """What the names of its hosts begin with."""
        return self._name

    @property
    def workers(self) -> tuple[int, ...]:
        """The numbers of the workers, for `on`. Some may be missing if so many hosts do not fit into the process."""
        return tuple(number for number in range(self._core.size) if number in self._core.workers)

    def submit[T](self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> PoolFuture[T]:
        """Have a worker make the call `fn(*args, **kwargs)`; its future comes at once.

        Never blocks. Raises CloneError if *fn* or an argument cannot leave this interpreter, TypeError if *fn* is not
        callable, RuntimeError after `shutdown`, BrokenPool if the pool is broken.

            pool.submit(pow, 2, 10).result()      # 1024
        """
        core = self._core
        if self._context or core.forked:
            return self._submit(None, None, fn, args, kwargs)
        future: PoolFuture[T] = core.submit(core.pack(fn), args, kwargs, None, None)
        return future

    def options(self, *, timeout: float | None = None, worker: int | None = None) -> PoolView:
        """The pool with something said about how the calls are to be made.

        *timeout* is how many seconds a call may run once it has begun: then its future raises TimeoutError and the
        call is cancelled. *worker* is the number of the worker that is to make it. Never blocks. Raises ValueError
        for a worker that there is not, and for a timeout that is not positive.

            pool.options(timeout=5.0).submit(fetch, url).result()
        """
        if timeout is not None and not timeout > 0:  # NaN is neither
            raise ValueError(f"cannot limit calls to timeout={timeout!r} (it must be above 0); None is no limit")
        if worker is not None and worker not in self.workers:
            raise ValueError(f"cannot call on worker {worker!r} (the pool has {len(self.workers)}); see pool.workers")
        return PoolView(self, timeout, worker)

    def on(self, worker: int) -> PoolView:
        """The pool with its calls pinned to one worker: they find there what earlier ones left in `worker_state()`.

            pool.on(0).submit(load, path)

        Never blocks. Raises ValueError if there is no such worker.
        """
        return self.options(worker=worker)

    def map[T](
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: bool = False,
    ) -> Iterator[T]:
        """Yield `fn(*items)` for every tuple of items of `zip(*iterables)`, in order.

        Takes all the input and starts at once, as every executor; with *buffersize*, only so many calls ahead of what
        has been yielded. Calls travel in chunks of *chunksize*, or, by default, in chunks that are split as workers
        become idle. *progress* draws a tqdm bar on stderr. Blocks in `next`, until *timeout* seconds after the call of
        `map`; then TimeoutError is raised. The first call that fails raises its exception in its place; that, and
        closing the iterator, ends the rest.

            list(pool.map(math.sqrt, [1.0, 4.0, 9.0]))      # [1.0, 2.0, 3.0]
        """
        deadline = None if timeout is None else timeout + time.monotonic()
        if buffersize is not None and (isinstance(buffersize, bool) or not isinstance(buffersize, int)):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        if chunksize is not None and chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        core = self._core
        _refuse_fork(core)
        core.check_open()
        make_bar = progress_bar(iterables) if progress else None
        mapping = Mapping(core, core.pack(fn), iterables, chunksize, buffersize)
        return mapping.results(deadline, timeout, make_bar() if make_bar is not None else None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; end the workers when those that there are have been made. Idempotent.

        With *wait*, blocks until that is done. With *cancel_futures* the calls that have not begun are cancelled.

            pool.shutdown(cancel_futures=True)
        """
        if self._core.forked:
            return
        self._core.shut_down(wait, cancel_futures)

    def resize(self, workers: int) -> None:
        """Have so many workers from now on: more are started in the background, those too many leave after their call.

        Never blocks. Raises RuntimeError after `shutdown`, ValueError unless there is to be at least one.

            pool.resize(8)
        """
        _check_count("workers", workers, "resize", "use shutdown() to have none")
        self._core.check_open()
        self._core.resize(workers)

    def stats(self) -> PoolStats:
        """A snapshot of the pool and its workers. Never blocks.

        pool.stats().queued
        """
        return _stats(self._core)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, Exception):
            self._core.shut_down(wait=False, cancel_futures=True, cancel_running=True)
        self.shutdown(wait=True)

    def __repr__(self) -> str:
        core = self._core
        state = "broken" if core.broken else "over" if core.over.is_set() else "closing" if core.closing else "open"
        return f"<atoll.Pool {self._name!r} {core.size} workers {state}>"

    def __reduce__(self) -> Any:
        # A task that is given the pool gets another face of it; nothing but a message can carry that.
        from ._pool.nested import connect

        self._core.is_lent = True
        self._core.want_collector()
        core = self._core
        return connect, (core.name, core.size, core.jobs, core.results.sender)

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None and not core.closing and not core.forked:
            with contextlib.suppress(AtollError):
                core.shut_down(wait=False, cancel_futures=False)

    @property
    def _max_workers(self) -> int:
        size: int = self._core.size
        return size

    @property
    def _broken(self) -> bool:
        self._core.poll()
        return self._core.broken is not None

    def _submit[T](
        self,
        timeout: float | None,
        worker: int | None,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> PoolFuture[T]:
        core = self._core
        if core.forked:
            _refuse_fork(core)
        extra: dict[str, Any] | None = None
        if timeout is not None or self._context:
            extra = {}
            if timeout is not None:
                extra["timeout"] = timeout
            if self._context:
                missing = object()
                values = ((shipment, variable.get(missing)) for variable, shipment in self._context)
                extra["context"] = [(shipment, value) for shipment, value in values if value is not missing]
        future: PoolFuture[T] = core.submit(core.pack(fn), args, kwargs, worker, extra)
        return future


class PoolView:
    """A pool with options for its calls: what `Pool.options` and `Pool.on` give."""

    __slots__ = ("_pool", "_timeout", "_worker")

    def __init__(self, pool: Pool, timeout: float | None, worker: int | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._worker = worker

    def submit[T](self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> PoolFuture[T]:
        """As `Pool.submit`, with the options of this view."""
        return self._pool._submit(self._timeout, self._worker, fn, args, kwargs)

    def __repr__(self) -> str:
        return f"<view of {self._pool!r}: timeout={self._timeout} worker={self._worker}>"


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """One worker at the moment of the question."""

    number: int
    kind: str
    """`interpreter` or `isolate`; empty while it starts."""
    host_id: int | None
    calls: int
    """Calls and chunks that it has taken."""
    is_busy: bool


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A pool at the moment of the question."""

    name: str
    size: int
    """Workers that there ought to be."""
    workers: tuple[WorkerStats, ...]
    """Workers that there are."""
    submitted: int
    """Calls and chunks that were put into the queue."""
    finished: int
    """Calls, and whole maps, that have ended in whatever way."""
    cancelled: int
    queued: int
    """Calls and chunks that no worker has taken yet."""
    is_closing: bool
    is_broken: bool


def _stats(core: Core) -> PoolStats:
    core.poll()
    core.read_starts()
    workers = [worker for number, worker in sorted(core.workers.items()) if number >= 0]
    queued = len(core.queue) + sum(len(worker.own) for worker in workers)
    return PoolStats(
        name=core.name,
        size=core.size,
        workers=tuple(
            WorkerStats(
                number=worker.number,
                kind=worker.host.kind if worker.host else "",
                host_id=worker.host.id if worker.host else None,
                calls=worker.calls,
                is_busy=worker.current in core.pending,
            )
            for worker in workers
        ),
        submitted=core.submitted,
        finished=core.finished,
        cancelled=core.cancelled,
        queued=queued,
        is_closing=core.closing,
        is_broken=core.broken is not None,
    )


def _check_count(name: str, count: int | None, verb: str = "open", instead: str = "leave it out") -> None:
    if count is None:
        return
    what = f"cannot {verb} a pool with {name}={count!r}"
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{what} (a {type(count).__name__}); pass an int")
    if count < 1:
        raise ValueError(f"{what} (it must be at least 1); {instead}")


def _check_kind(kind: str) -> None:
    if not isinstance(kind, str):
        raise TypeError(f"cannot open a pool of kind={kind!r} (not a str); use kind='auto'")
    if kind == "isolate":
        _environment.check_room()
    elif kind not in ("auto", "interpreter"):
        raise ValueError(f"cannot open a pool of kind={kind!r} (there is none); use 'auto', 'isolate' or 'interpreter'")


def _shipped_variables(context: Iterable[ContextVar[Any]]) -> tuple[tuple[ContextVar[Any], Any], ...]:
    if not (variables := tuple(context)):
        return ()
    from ._pool.context import name_of

    return tuple((variable, name_of(variable)) for variable in variables)


def _refuse_fork(core: Core) -> None:
    if core.forked:
        raise AtollError(
            f"cannot use pool {core.name!r} (this process was forked from the one that opened it); use it there, or "
            "start the child as a new process"
        )


def _after_fork() -> None:
    for core in list(_open):
        core.fork()


def _end_pools() -> None:
    """At the end of the interpreter every executor waits for its calls; then the workers stop."""
    for core in list(_open):
        if not core.forked:
            core.shut_down(wait=True, cancel_futures=False)


os.register_at_fork(after_in_child=_after_fork)
if _native.current_host() == _exit.MAIN_HOST:
    # Registered after the end of all workers, so called before it.
    atexit.register(_end_pools)

"""The backend: what joblib asks of one, answered by a pool of isolates."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from joblib.parallel import (
    BACKENDS,
    DEFAULT_PROCESS_BACKEND,
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    cpu_count,
)

from .. import _environment, _native
from .._errors import HostUnavailable
from .._exit import MAIN_HOST
from .._pool.future import PoolFuture
from .._shared_arrays import Snapshots
from . import _workers

_said: set[str] = set()


class AtollBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs the tasks of `joblib.Parallel` on isolates of this process: `parallel_config(backend="atoll")`.

    *kind* is that of a Pool's workers: `isolate`, in which every extension module works, or `interpreter`, for tasks
    of pure Python. *inner_max_num_threads* limits the threads of numeric libraries in each worker; without it the
    cores are divided among them. *initializer* is called in each worker before its first task, with *initargs*.

    Where there can be no isolates, joblib's own processes do the work, and a warning says why.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    supports_sharedmem = False
    uses_threads = False

    # A batch costs a fiftieth of what it costs with processes, so it may be shorter; the last ones end more evenly.
    MIN_IDEAL_BATCH_DURATION = 0.05
    MAX_IDEAL_BATCH_DURATION = 0.5

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        kind: str = "isolate",
        **settings: Any,
    ) -> None:
        if kind not in ("isolate", "interpreter"):
            raise ValueError(f"cannot run tasks on kind={kind!r} (there is none); use 'isolate' or 'interpreter'")
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **settings)
        self._kind = kind
        self._calls: weakref.WeakKeyDictionary[Any, _Call] = weakref.WeakKeyDictionary()
        self._thread = threading.local()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many workers there will be: not more than fit into the process."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None or self._is_nested():
            return 1
        if n_jobs < 0:
            n_jobs = max(cpu_count() + 1 + n_jobs, 1)
        if n_jobs == 1:
            return 1
        try:
            room = _workers.room(self._kind)
        except HostUnavailable:
            return n_jobs  # of processes
        if room < n_jobs:
            _say_once(
                f"n_jobs={n_jobs} becomes {room} (so many isolates fit into this process); {_environment.MORE_ROOM}"
            )
        return min(n_jobs, room)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **settings: Any) -> int:
        """Get ready for calls of *parallel*."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        settings = {**self.backend_kwargs, **settings}
        initargs = tuple(settings.get("initargs", ()))
        wanted = _workers.Wanted(
            n_jobs, self._kind, self._threads(n_jobs), settings.get("initializer"), initargs, tuple(map(id, initargs))
        )
        try:
            _workers.room(self._kind)
            _workers.get(wanted)
        except HostUnavailable as error:
            _say_once(f"joblib's own processes run the tasks: {error}")
            raise FallbackToBackend(self._processes()) from None
        largest = settings.get("max_nbytes", 1 << 20)
        # Whoever asks to write gets a copy to write to.
        shares = largest is not None and settings.get("mmap_mode", "r") == "r"
        self.parallel = parallel
        self._calls[parallel] = _Call(parallel, wanted, Snapshots(largest + 1) if shares else None)
        return n_jobs

    def start_call(self) -> None:
        """An array may have changed since the last call."""
        self._tidy()

    def submit(self, func: Any, callback: Any = None) -> Future[Any]:
        """Have a batch of calls made."""
        parallel = getattr(callback, "parallel", self.parallel)
        call = self._thread.call = self._calls[parallel]
        call.waits = not parallel.return_generator and parallel.timeout is None
        nested = func._backend
        name = "sequential" if isinstance(nested, SequentialBackend) else "threading"
        future: Future[Any]
        try:
            with call.snapshots.sharing() if call.snapshots is not None else nullcontext():
                future = _workers.get(call.wanted).submit(func.items, (name, nested.nesting_level, func._n_jobs))
        except Exception as error:
            # Raised where the results are asked for: this may be a thread in which nobody would see it.
            future = Future()
            future.set_exception(error)
        else:
            call.futures.add(future)
            call.settled.clear()
            future.add_done_callback(call.forget)
        if callback is not None:
            future.add_done_callback(callback)
        future.add_done_callback(call.look)
        return future

    @contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Wait for the results of this thread's call: joblib itself looks every 10 ms whether they are there."""
        call: _Call | None = getattr(self._thread, "call", None)
        if call is not None and call.waits and call.futures and not call.is_aborting():
            call.settled.wait()
        yield

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """What came of a batch."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002
        """Cancel the tasks of those calls of `Parallel` that want no more; the workers stay."""
        for call in list(self._calls.values()):
            if call.is_aborting():
                _workers.cancel(call.futures)

    def terminate(self) -> None:
        """A call is over: its arrays go, the workers stay for the next one."""
        self._tidy()
        self.reset_batch_stats()

    def _tidy(self) -> None:
        for call in list(self._calls.values()):
            if call.snapshots is not None and not call.futures:
                call.snapshots.clear()

    def _is_nested(self) -> bool:
        """Whether this is inside of a worker already."""
        return bool(self.nesting_level) and _native.current_host() != MAIN_HOST

    def _threads(self, n_jobs: int) -> tuple[tuple[str, str], ...]:
        """The variables that limit the threads of numeric libraries in a worker."""
        explicit = self.inner_max_num_threads
        count = str(max(cpu_count() // n_jobs, 1) if explicit is None else explicit)
        names = {*self.MAX_NUM_THREADS_VARS, *_environment.THREAD_VARIABLES}
        return tuple((name, count) for name in sorted(names) if explicit is not None or name not in os.environ)

    def _processes(self) -> Any:
        factory = BACKENDS[DEFAULT_PROCESS_BACKEND]
        return factory(nesting_level=self.nesting_level, inner_max_num_threads=self.inner_max_num_threads)

    def __reduce__(self) -> Any:
        # What is going on here stays here.
        settings = (self.nesting_level, self.inner_max_num_threads, self._kind)
        return partial(AtollBackend, *settings, **self.backend_kwargs), ()


class _Call:
    """What is out for one `Parallel`."""

    def __init__(self, parallel: Any, wanted: _workers.Wanted, snapshots: Snapshots | None) -> None:
        self._parallel = weakref.ref(parallel)
        self.wanted = wanted
        self.snapshots = snapshots
        self.futures: set[PoolFuture[Any]] = set()
        self.settled = threading.Event()
        """Set when no batch is out, or one has failed."""
        self.waits = False
        """Whether joblib wants nothing before all of it is there."""

    def is_aborting(self) -> bool:
        """Whether nothing more is wanted: an error has come up, in a task or in what makes the tasks."""
        return bool(getattr(self._parallel(), "_aborting", True))

    def forget(self, future: Any) -> None:
        """A batch has ended."""
        self.futures.discard(future)

    def look(self, future: Future[Any]) -> None:
        """A batch has ended, and joblib has sent the next one if there is any."""
        if not self.futures or future.cancelled() or future.exception() is not None or self.is_aborting():
            self.settled.set()


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        warnings.warn(f"backend 'atoll': {text}", UserWarning, stacklevel=6)

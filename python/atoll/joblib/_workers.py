"""The workers of joblib's backend: pools of isolates that stay between calls of `Parallel`.

# Invariants

- J1 A pool is known by its `Wanted`; there is one for each. Those that nobody uses are closed when room is needed for
  another: the isolates stay, with the packages that they have loaded, and the next pool gets them.
- J2 `_pools` belongs to the process: a forked child starts without.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.process import current_process
from typing import Any

from .. import _environment, _joblib_worker, _native
from .._errors import HostUnavailable
from .._exit import MAIN_HOST
from .._pool.future import PoolFuture
from ..pool import Pool

_lock = threading.Lock()
_pools: dict[Wanted, Workers] = {}
_is_forked = False


@dataclass(frozen=True)
class Wanted:
    """What tells one pool of workers from another."""

    jobs: int
    kind: str
    threads: tuple[tuple[str, str], ...]
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...] = field(compare=False)
    same: tuple[int, ...]
    """By identity: what arguments are equal to, if anything, is their own business."""


class Workers:
    """A pool, and the calls that are out."""

    def __init__(self, wanted: Wanted) -> None:
        self.pool = Pool(
            wanted.jobs,
            wanted.kind,
            initializer=_joblib_worker.prepare,
            initargs=(dict(wanted.threads), bytes(current_process().authkey), wanted.initializer, wanted.initargs),
            name=f"joblib-{wanted.jobs}",
        )
        self.futures: set[PoolFuture[Any]] = set()

    def submit(self, calls: list[Any], nested: _joblib_worker.Nested) -> PoolFuture[Any]:
        """Have a batch of calls made by one of them."""
        parcel: _native.Channel[list[Any]] = _native.Channel(1)
        parcel.send_nowait(calls)
        future = self.pool.submit(_joblib_worker.make, parcel.receiver, nested)
        self.futures.add(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: Any) -> None:
        self.futures.discard(future)


def get(wanted: Wanted) -> Workers:
    """The workers that are wanted: those that there are, or new ones; busy ones of another pool if there is no room.

    Never blocks for longer than idle workers take to leave. Raises HostUnavailable if there are none at all.
    """
    with _lock:
        workers = _pools.get(wanted)
        if workers is not None and not workers.pool._broken and not workers.pool._core.closing:
            return workers
        _pools.pop(wanted, None)
        for other, idle in list(_pools.items()):
            if not idle.futures:
                del _pools[other]
                idle.pool.shutdown()
        try:
            workers = _pools[wanted] = Workers(wanted)
        except HostUnavailable:
            if not _pools:
                raise
            return max(_pools.values(), key=lambda other: other.pool._max_workers)
        return workers


def room(kind: str) -> int:
    """How many workers there could be. Raises HostUnavailable if there are none and can be none."""
    if _is_forked:
        raise HostUnavailable("cannot open isolates for joblib (this process was forked); call it in the parent")
    if _native.current_host() != MAIN_HOST:
        raise HostUnavailable("cannot open isolates for joblib (this code runs in one); leave n_jobs to the outer call")
    if kind != "isolate":
        return sys.maxsize
    now = _environment.room()
    if now.reason:
        _environment.check_room()
    places = now.limit - now.opened + now.parked + sum(workers.pool._max_workers for workers in list(_pools.values()))
    if places <= 0:
        _environment.check_room()
    return max(places, 1)


def shutdown() -> None:
    """End the workers: calls that are out are cancelled. The next call of `Parallel` starts new ones.

    Blocks until they have gone; an isolate that is in C code leaves when that returns.
    """
    with _lock:
        ending = list(_pools.values())
        _pools.clear()
    for workers in ending:
        cancel(workers.futures)
        workers.pool.shutdown(wait=not workers.futures)


def cancel(futures: Iterable[PoolFuture[Any]]) -> None:
    """Cancel calls: first those that wait, so that no worker takes one while others are being stopped."""
    futures = list(futures)
    numbers: dict[Any, set[int]] = {}
    for future in futures:
        numbers.setdefault(future._core, set()).add(future._number)
    for core, waiting in numbers.items():
        core.take_back(waiting)
    for future in futures:
        future.cancel()


def _after_fork() -> None:
    global _lock, _is_forked
    _lock = threading.Lock()
    _is_forked = True
    _pools.clear()


os.register_at_fork(after_in_child=_after_fork)
if _native.current_host() == MAIN_HOST:
    # Registered after the pools' own, so called before it: that one waits for the calls that are out.
    atexit.register(shutdown)

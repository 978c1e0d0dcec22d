"""`map`: the built-in, on every core.

The calling thread feeds chunks of the input into a jobs channel and takes chunks of results from another; the workers
are tasks between the two. Nothing waits for the whole input or the whole output.

# Invariants

- M1 At most `window` chunks are past the one whose results are being yielded, so infinite input takes bounded memory.
- M2 A send never blocks: both channels are unbounded and M1 bounds what is in them.
- M3 Every chunk that was sent is answered once by a worker, or the worker's end is noticed on the channel `ended`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import _loading, _native, _shipping
from ._errors import AtollError, Cancellation, CloneError
from ._failures import dump_failure, load_failure
from .tasks import Task, spawn

__all__ = ["map"]

CHUNK_SECONDS = 0.005
"""An adaptive chunk is as many calls as take about this long."""

_MOST_CALLS = 10_000
_CHUNKS_PER_WORKER = 3

type Chunk = list[tuple[Any, ...]]


def map[T](
    fn: Callable[..., T],
    /,
    *iterables: Iterable[Any],
    kind: str = "auto",
    workers: int | None = None,
    chunksize: int | None = None,
    progress: bool = False,
) -> Iterator[T]:
    """Yield `fn(*items)` for every tuple of items of `zip(*iterables)`, in order, computed in other interpreters.

    Lazy: starts at the first `next`, reads ahead a bounded number of items, and so takes infinite iterables; blocks
    while the next result is computed. Without *chunksize* the calls travel in chunks that grow until one takes some
    milliseconds. *workers* is the number of tasks that share the work (None: one per core); *kind* is that of the
    interpreters they run in, as for `spawn`. *progress* draws a tqdm bar on stderr. The first call that fails raises
    its exception in its place and ends the rest; so does closing or dropping the iterator.

    Raises TypeError and ValueError for bad arguments, CloneError if *fn* cannot leave this interpreter, ImportError
    if *progress* needs tqdm and it is missing: all at the call, not at the first `next`.

        list(atoll.map(math.sqrt, [1.0, 4.0, 9.0]))      # [1.0, 2.0, 3.0]
    """
    if not iterables:
        raise TypeError("cannot map over nothing (no iterable was given); pass at least one after the function")
    _check_count("workers", workers)
    _check_count("chunksize", chunksize)
    _shipping.refuse_async(fn, "map")
    shipment = _shipping.pack(fn, _shipping.new_path())
    items = zip(*iterables, strict=False)
    make_bar = _progress_bar(iterables) if progress else None
    return _Mapping(shipment, items, kind, workers or _default_workers(), chunksize).results(make_bar)


def _check_count(name: str, count: int | None) -> None:
    if count is None:
        return
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"cannot map with {name}={count!r} (a {type(count).__name__}); pass an int or None")
    if count < 1:
        raise ValueError(f"cannot map with {name}={count} (it must be at least 1); pass None to have it chosen")


def _default_workers() -> int:
    import os

    return os.process_cpu_count() or 1


def _progress_bar(iterables: tuple[Iterable[Any], ...]) -> Callable[[], Any]:
    """What draws the bar once there is something to show."""
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(
            "cannot draw a progress bar (tqdm is not installed); pip install 'atoll[progress]', or leave progress out",
            name="tqdm",
        ) from error
    lengths = []
    for iterable in iterables:
        try:
            lengths.append(len(iterable))  # type: ignore[arg-type]
        except TypeError:
            continue
    return lambda: tqdm(total=min(lengths, default=None))


class _Mapping:
    """One call of `map`: what is out with the workers and what came back too early to be yielded."""

    def __init__(
        self,
        shipment: _shipping.Shipment,
        items: Iterator[tuple[Any, ...]],
        kind: str,
        workers: int,
        chunksize: int | None,
    ) -> None:
        self._shipment = shipment
        self._items = items
        self._kind = kind
        self._workers = workers
        self._adaptive = chunksize is None
        self._size = chunksize or 1
        self._window = workers * _CHUNKS_PER_WORKER
        self._sent = 0
        self._yielded = 0
        self._exhausted = False
        self._source_is_slow = False
        self._source_error: BaseException | None = None
        self._arrived: dict[int, tuple[list[Any], bytes | None]] = {}
        self._tasks: list[Task[None]] = []
        self._taken = 0
        """Items that were sent."""
        self._jobs: _native.Channel[tuple[int, Chunk]] = _native.Channel(None)
        self._results: _native.Channel[tuple[int, list[Any], bytes | None, float]] = _native.Channel(None)
        self._ended: _native.Channel[int] = _native.Channel(None)

    def results(self, make_bar: Callable[[], Any] | None) -> Iterator[Any]:
        bar = make_bar() if make_bar is not None else None
        finished = False
        try:
            while True:
                self._collect()
                self._feed()
                if self._yielded in self._arrived:
                    values, failure = self._arrived.pop(self._yielded)
                    for value in values:
                        if bar is not None:
                            bar.update()
                        yield value
                        self._collect()
                        self._feed()
                    if failure is not None:
                        raise load_failure(failure)
                    self._yielded += 1
                elif self._yielded < self._sent:
                    self._wait_for_one()
                else:
                    break
            finished = True
            if self._source_error is not None:
                raise self._source_error
        finally:
            self._stop(finished)
            if bar is not None:
                bar.close()

    def _feed(self) -> None:
        """Send chunks until the window is full (M1); from a slow source only while nothing is ready to be yielded."""
        while not self._exhausted and self._sent - self._yielded < self._window:
            if self._source_is_slow and self._yielded in self._arrived:
                return
            chunk = self._next_chunk()
            if chunk:
                if len(self._tasks) < self._workers:
                    self._add_worker()
                try:
                    self._jobs.send_nowait((self._sent, chunk))
                except CloneError as error:
                    raise _of_items(error, self._taken) from None
                self._sent += 1
                self._taken += len(chunk)

    def _next_chunk(self) -> Chunk:
        """Up to `_size` items; fewer if the source takes so long that waiting for more would idle the workers."""
        chunk: Chunk = []
        began = time.perf_counter()
        self._source_is_slow = False
        try:
            for item in self._items:
                chunk.append(item)
                if len(chunk) >= self._size:
                    return chunk
                if self._adaptive and time.perf_counter() - began > CHUNK_SECONDS:
                    self._source_is_slow = True
                    return chunk
            self._exhausted = True
        except Exception as error:
            # As with the built-in: the results before the source's error come first.
            self._exhausted = True
            self._source_error = error
        return chunk

    def _add_worker(self) -> None:
        how, target, ends, region = self._shipment
        blob = None if region is None else region.bytes()
        task = spawn(
            work, how, target, ends, blob, self._jobs.receiver, self._results.sender,
            kind=self._kind, name=f"map-{len(self._tasks)}",
        )  # fmt: skip
        task._asked = True
        task._started("watch").notify(self._ended.sender, len(self._tasks))
        self._tasks.append(task)

    def _collect(self) -> None:
        """Take the results that are there, without waiting."""
        while len(self._results):
            self._keep(self._results.recv())

    def _wait_for_one(self) -> None:
        case, value = _native.select(self._results, self._ended)
        if case is self._results:
            self._keep(value)
            return
        # A worker ends before its jobs do only if something went wrong with it.
        self._collect()
        if self._yielded not in self._arrived:
            self._tasks[value].result()
            raise AtollError(f"cannot go on mapping (worker {self._tasks[value].name!r} ended early); start again")

    def _keep(self, answer: tuple[int, list[Any], bytes | None, float]) -> None:
        index, values, failure, seconds = answer
        self._arrived[index] = (values, failure)
        if self._adaptive and values:
            per_call = max(seconds / len(values), 1e-9)
            wanted = int(CHUNK_SECONDS / per_call)
            self._size = max(1, min(wanted, 2 * self._size, _MOST_CALLS))

    def _stop(self, finished: bool) -> None:
        self._jobs.close()
        if not finished:
            for task in self._tasks:
                if not task.done():
                    task._started("cancel").cancel(0.0)


def work(
    how: str,
    target: Any,
    ends: tuple[Any, ...],
    blob: bytes | None,
    jobs: _native.Receiver[tuple[int, Chunk]],
    results: _native.Sender[tuple[int, list[Any], bytes | None, float]],
) -> None:
    """A worker of `map`: call the function on every item of every chunk, until the jobs are closed."""
    fn = _loading.load(how, target, ends, lambda: blob)
    for index, chunk in jobs:
        values: list[Any] = []
        failure = None
        began = time.perf_counter()
        try:
            for items in chunk:
                values.append(fn(*items))
        except Cancellation:
            raise
        except BaseException as error:
            failure = _dump(error)
        seconds = time.perf_counter() - began
        try:
            results.send((index, values, failure, seconds))
        except CloneError:
            results.send((index, *_sendable(values), seconds))


def _dump(error: BaseException) -> bytes:
    trace = error.__traceback__
    error.__traceback__ = trace.tb_next if trace is not None and trace.tb_next is not None else trace
    return dump_failure(error)


def _sendable(values: list[Any]) -> tuple[list[Any], bytes | None]:
    """The results before the first that cannot be cloned, and the error of that one."""
    for position, value in enumerate(values):
        try:
            _native.clone(value)
        except CloneError as error:
            path = "result" + error.path.removeprefix("value")
            hint = error.hint.replace("(value)", "(result)")
            return values[:position], dump_failure(CloneError(path, error.type_name, hint=hint))
    return values, None


def _of_items(error: CloneError, first: int) -> CloneError:
    """The error with the path as the caller of `map` would write it; the chunk begins with the item *first*."""
    _, item, column, rest = error.path.split("]", 3)
    path = f"iterables{column}][{first + int(item[1:])}]{rest}"
    return CloneError(path, error.type_name, hint=error.hint)

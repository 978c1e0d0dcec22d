"""`Pool.map`: many calls of one function, sent in chunks, results in order.

Without *chunksize* the calls are dealt out in a few chunks for each worker. A worker sends back what it has got every
20 ms, and if another worker idles it puts half of the rest of its chunk into the queue again (`worker`). So tiny
calls travel by the thousand, long ones are spread evenly, and nobody has to guess how long a call takes.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any

from .._errors import CloneError
from .._failures import load_failure
from .client import Client
from .worker import CANCELLED, PART, SPLIT, WHOLE

_CHUNKS_PER_WORKER = 4
_LARGEST_CHUNK = 8192

type Part = tuple[list[Any], bytes | None]


class Mapping:
    """One call of `map`; in the core's table it stands for all its chunks."""

    def __init__(
        self,
        core: Client,
        shipment: Any,
        iterables: tuple[Iterable[Any], ...],
        chunksize: int | None,
        buffersize: int | None,
    ) -> None:
        self._core = core
        self._number = core.next_number()
        self._shipment = shipment
        self._mode = SPLIT if chunksize is None else WHOLE
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._parts: dict[int, Part] = {}
        self._error: BaseException | None = None
        self._sent = 0
        self._answered = 0
        self._next = 0
        self._is_complete = False
        self._rows: Iterator[Any] = iter(iterables[0]) if len(iterables) == 1 else zip(*iterables, strict=False)
        self._columns = len(iterables)
        if not iterables:
            self._is_complete = True
        elif buffersize is None:
            # As every executor: all of the input is taken now, and all of the work begins now.
            rows = list(self._rows)
            size = chunksize or min(-(-len(rows) // (core.size * _CHUNKS_PER_WORKER)), _LARGEST_CHUNK)
            for start in range(0, len(rows), size or 1):
                self._send(rows[start : start + size])
            self._is_complete = True
        else:
            self._size = chunksize or max(1, buffersize // (core.size * _CHUNKS_PER_WORKER))
            self._most = buffersize * (chunksize or 1)
            self._refill()

    def _refill(self) -> None:
        while not self._is_complete and self._sent - self._next + self._size <= self._most:
            rows = list(itertools.islice(self._rows, self._size))
            self._is_complete = len(rows) < self._size
            self._send(rows)

    def _send(self, rows: list[Any]) -> None:
        if not rows:
            return
        columns = (rows,) if self._columns == 1 else tuple(map(list, zip(*rows, strict=True)))
        position = self._sent
        self._sent += len(rows)
        try:
            self._core.send(self._number, self, (self._number, None, (position, *columns), self._mode, self._shipment))
        except BaseException as error:
            if position:
                self._core.abandon(self._number)
            if isinstance(error, CloneError) and error.path.startswith("args["):
                raise _of_items(error, position) from None
            raise

    # What the core says -------------------------------------------------------------------------------------------

    def take(self, how: int, value: Any, position: int) -> bool:
        """Keep a part of the results; whether it was the last one."""
        with self._changed:
            if how == PART:
                values, failure, skipped = value
                # A part may be dealt with twice, after an interruption; it must not count twice.
                if position >= self._next and position not in self._parts:
                    self._answered += len(values) + skipped
                    self._parts[position] = (values, failure)
            else:
                self._error = CancelledError() if how == CANCELLED else load_failure(value)
            self._changed.notify_all()
            return self._is_complete and self._answered == self._sent

    def fail(self, error: BaseException) -> None:
        """There will be no more results."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def drop(self) -> None:
        """The chunks that waited have been taken back."""
        self.fail(CancelledError())

    # The caller's side --------------------------------------------------------------------------------------------

    def is_over(self) -> bool:
        """Whether there is something to yield next, or never will be."""
        return self._next in self._parts or self._error is not None

    def follow(self, timeout: float | None) -> bool:
        """Wait while somebody else takes the results out."""
        with self._changed:
            return self.is_over() or self._changed.wait(timeout)

    def results(self, deadline: float | None, timeout: float | None, bar: Any) -> Iterator[Any]:
        """The results in order; ends the rest when it is closed or a call has failed."""
        core = self._core
        try:
            while self._next < self._sent:
                if self._next not in self._parts:
                    left = None if deadline is None else max(0.0, deadline - time.monotonic())
                    try:
                        core.wait(self, left)
                    except TimeoutError:
                        text = f"cannot get the next result of map (it has not come within {timeout} s); wait longer"
                        raise TimeoutError(text) from None
                if self._next not in self._parts:
                    assert self._error is not None
                    raise self._error
                values, failure = self._parts.pop(self._next)
                values.reverse()
                while values:
                    # Before the value leaves, as nothing may follow the last.
                    self._next += 1
                    if bar is not None:
                        bar.update()
                    yield values.pop()
                    if not self._is_complete:
                        self._refill()
                if failure is not None:
                    raise load_failure(failure)
        finally:
            if self._next < self._sent:
                core.abandon(self._number)
            if bar is not None:
                bar.close()


def _of_items(error: CloneError, first: int) -> CloneError:
    """The error with the path as the caller of `map` would write it; the chunk begins with the item *first*."""
    column, item, rest = error.path.removeprefix("args[").split("]", 2)  # `args` are the position, and the columns
    path = f"iterables[{int(column) - 1}][{first + int(item[1:])}]{rest}"
    return CloneError(path, error.type_name, hint=error.hint)


def progress_bar(iterables: tuple[Iterable[Any], ...]) -> Callable[[], Any]:
    """What draws the bar of `map(progress=True)`; raises ImportError if it cannot."""
    from ..mapping import _progress_bar

    return _progress_bar(iterables)

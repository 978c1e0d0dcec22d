"""The inside of a pool: its workers, from their start to their end, and who does what.

`client` says who takes the results out, `queue` where calls wait, `worker` what runs in the workers.

# Invariants

- P1 A call that is not in a queue has been taken by a worker: who takes it out of the queue decides whether it runs.
  What is said to the workers about one that is on its way, `worker` tells.
- P2 Every place in `workers` is filled, about to be filled by the builder, or removed; the pool is over when none is
  left.
- P3 Nothing here waits for a host but the builder, a thread that lives as long as there are orders for it.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures._base import FINISHED
from functools import partial
from typing import Any

from .. import _native, _shipping
from .._errors import AtollError, ChannelClosed, ChannelEmpty, HostDied, HostUnavailable
from .._failures import load_failure
from ..interpreters import Interpreter
from .builder import Builder
from .client import CANCEL_WAIT, MOST_UNREAD, Client
from .future import PoolFuture
from .queue import Call, Queue, drain
from .worker import BROKEN, CANCELLED, HAND, IDLE, MOST_REVOKED, REPORT, STARTED, STRIKE, STRUCK, WITHDRAWN, Settings

_DEATHS_IN_A_ROW = 3


class Worker:
    """One place in the pool, whoever fills it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.host: Interpreter | None = None
        self.handle: _native.TaskHandle | None = None
        self.calls = 0
        """Calls and chunks that it answered."""
        self.current: int | None = None
        """The call that it announced last."""
        self.own: _native.Channel[Call | None] = _native.Channel(None)
        self.cancels: _native.Channel[int] = _native.Channel(None)
        self.cancelling = threading.Lock()
        self.selects = False
        """Whether it looks into its own queue."""
        self.leaving = False
        self.deaths = 0
        self.stop: _native.Receiver[Any] | None = None
        """If this is but a hand, lent to a call that waits for others: it goes when this is closed."""


class Core(Client):
    """What the `Pool`, its futures and its threads share. Lives until the last of them has gone."""

    def __init__(self, size: int, kind: str, name: str, settings: Settings, broken: type[AtollError]) -> None:
        self.queue = Queue()
        super().__init__(name, size, self.queue.channel)
        self.kind = kind
        self.broken: BaseException | None = None
        self.closing = False
        self.is_lent = False
        """Whether tasks were given the pool: then somebody has to hear what they want."""
        self.starts: _native.Channel[tuple[int, int]] = _native.Channel(None)
        self.workers: dict[int, Worker] = {}
        self._broken_type = broken
        self._why = ""
        self._settings = settings
        self._revoked: deque[int] = deque(maxlen=MOST_REVOKED)
        """Calls that were not in a queue when they were cancelled, wherever they are."""
        self._starts_lock = threading.Lock()
        self._hands = itertools.count(-1, -1)
        # At last, whoever waits for the end of the pool is to look whether it has come.
        self._builder = Builder(f"{name} builder", partial(self.results.send_nowait, (0, STARTED, None, 0)))
        self._kind_known: str | None = None
        self._is_full = False
        """Whether no further host of that kind could be had: then there are fewer workers than there ought to be."""
        for number in range(size):
            self.workers[number] = Worker(number)
            self._builder.order(self._launch, self.workers[number])

    # Calls --------------------------------------------------------------------------------------------------------

    def check_open(self) -> None:
        if self.broken is not None:
            raise self._new_broken()
        if self.closing:
            raise RuntimeError("cannot schedule new futures after shutdown (no more calls are taken); open a new pool")

    def put(self, call: Call, worker: int | None) -> None:
        if worker is not None:
            if (place := self.workers.get(worker)) is None:
                raise ValueError(f"cannot call on worker {worker} (it is no more); see pool.workers")
            place.own.send_nowait(call)
            self._open_own(place)
        else:
            self.queue.put(call)

    # Words of workers ---------------------------------------------------------------------------------------------

    def hear(self, word: Any) -> None:
        if type(word) is int:
            self._on_end(word)
            return
        number, how, value, _ = word
        if how == REPORT:
            from .reports import deliver

            deliver(value)
        elif how == BROKEN:
            self._log_broken_initializer(error := load_failure(value))
            self.break_down(f"a worker's initializer failed: {type(error).__name__}: {error}", error)
        elif how == HAND:
            self._lend_hand(number, value)
        elif how == STRIKE:
            self._cancel_for_task(number)

    def tidy(self) -> None:
        if len(self.starts) > MOST_UNREAD:
            self.read_starts()
        if self.queue.behind:
            self.queue.feed()
        if self.closing:
            self._close_queues()

    def is_busy(self) -> bool:
        if self.closing and self.try_to_end():
            return False
        return not self.over.is_set() and (
            bool(self.pending)
            or self.closing
            or self.is_lent
            or any(worker.leaving for worker in list(self.workers.values()))
        )

    def read_starts(self) -> None:
        """Take note of who has begun what."""
        with self._starts_lock:
            while len(self.starts):
                try:
                    self._note(self.starts.recv_many(MOST_UNREAD, 0))
                except (ChannelEmpty, TimeoutError):
                    return

    def _note(self, starts: Iterable[tuple[int, int]]) -> None:
        for number, call in starts:
            if (worker := self.workers.get(number)) is not None:
                worker.current = call
                worker.calls += call != IDLE

    def workers_at(self, number: int) -> list[Worker]:
        """Who is at work on a call."""
        self.read_starts()
        return [worker for worker in list(self.workers.values()) if worker.current == number]

    def is_running(self, future: PoolFuture[Any]) -> bool:
        return future._number in self.pending and bool(self.workers_at(future._number))

    # Cancelling ---------------------------------------------------------------------------------------------------

    def cancel(self, future: PoolFuture[Any]) -> None:
        """Take the future's call back, or throw a cancellation into it."""
        self.poll()
        if future._number not in self.pending:
            return
        if self.take_back({future._number}, future._worker):
            return
        self.strike(future._number, CANCEL_WAIT)
        with contextlib.suppress(TimeoutError):
            self.wait(future, CANCEL_WAIT)

    def abandon(self, number: int) -> None:
        """Nobody wants the results of these calls any more: take back those that wait, stop those that run."""
        self.take_back({number}, drop=False)
        self.strike(number, 0.0)
        self.forget(number)

    def take_back(self, numbers: set[int] | None, worker: int | None = None, *, drop: bool = True) -> bool:
        """Take these calls (None: all) out of the queue, so that they never run; whether there was one."""
        if worker is None:
            found = self.queue.take_back(numbers)
            if self.queue.behind:
                self.want_collector()  # who feeds it
        elif (place := self.workers.get(worker)) is None:
            return False
        else:
            with self.lock:
                found, kept = drain(place.own, numbers)
                for call in kept:
                    place.own.send_nowait(call)
        if self.closing:
            self._close_queues()
        if drop:
            for call in found:
                self.drop(call[0])
        return bool(found)

    def _cancel_for_task(self, number: int) -> None:
        """A task that was given the pool does not want one of its own calls any more."""
        found = self.queue.take_back({number})
        for call in found:
            with contextlib.suppress(ChannelClosed):  # who asked has ended
                call[1]["reply"].send_nowait((number, CANCELLED, None, 0))
        if not found or type(found[0][3]) is not dict:  # parts of a `map` may be anywhere
            self.strike(number, 0.0)

    def strike(self, number: int, wait: float) -> None:
        """Throw a cancellation into a call that is in no queue, or see that it is not begun; and into nothing else."""
        self._revoked.append(number)
        is_one_call = type(self.pending.get(number)) is PoolFuture
        # A call that nobody has announced, or a part of a `map`, may be on its way to any of them.
        for worker in (is_one_call and self.workers_at(number)) or list(self.workers.values()):
            with worker.cancelling:
                self._strike(worker, number, wait)
        self.want_collector()  # who starts the worker again

    def _open_own(self, worker: Worker) -> None:
        """Have the worker look into its own queue, which it does not do until there is something in it."""
        if worker.selects:
            return
        with worker.cancelling:
            worker.selects = True
            if worker.handle is not None:
                self._strike(worker, IDLE, CANCEL_WAIT)
        self.want_collector()

    def _strike(self, worker: Worker, number: int, wait: float) -> None:
        handle, cancels = worker.handle, worker.cancels
        if handle is None:
            return
        was_leaving, worker.leaving = worker.leaving, True
        cancels.send_nowait(number)
        self.read_starts()
        if worker.current == number and (number in self.pending or number == IDLE or number >= 1 << 40):
            handle.cancel(wait)
            cancels.send_nowait(STRUCK)
        else:
            cancels.send_nowait(WITHDRAWN)
            worker.leaving = was_leaving

    # Workers ------------------------------------------------------------------------------------------------------

    def _launch(self, worker: Worker) -> None:
        """Fill a place: open a host and start the loop in it."""
        if self._is_full or (self.closing and not self._has_calls()):
            self._vacate(worker)
            return
        kind = self._kind_known or self.kind
        try:
            worker.host = Interpreter(kind, name=f"{self.name}_{worker.number}")
            self._kind_known = worker.host.kind
            self._start(worker)
        except BaseException as error:
            host, worker.host = worker.host, None
            _close(host)
            self._vacate(worker)
            running = [other for other in list(self.workers.values()) if other.host is not None]
            if not running or not isinstance(error, HostUnavailable):
                self.break_down(f"no worker can be started: {error}", error)
            else:
                self._is_full = True
                self._log_few(len(running), error)

    def _vacate(self, worker: Worker) -> None:
        if worker.host is None and self.workers.get(worker.number) is worker:
            with self.lock:
                del self.workers[worker.number]
            self.take_own(worker)

    def take_own(self, worker: Worker) -> None:
        """Give the calls that were meant for a worker which is no more to the others."""
        with self.lock, contextlib.suppress(ChannelClosed):
            for call in drain(worker.own, None)[0]:
                self.jobs.send_nowait(call)

    def _start(self, worker: Worker) -> None:
        """Run the loop in the worker's host; after a cancellation, again."""
        with worker.cancelling:
            self._submit_loop(worker)

    def _submit_loop(self, worker: Worker) -> None:
        assert worker.host is not None
        worker.cancels = _native.Channel(None)
        self.read_starts()  # what the loop before this one said
        worker.current = None
        selects = worker.selects or worker.stop is not None
        revoked = tuple(self._revoked.copy())
        settings = {**self._settings, "split_to": self.jobs.sender, "selects": selects, "revoked": revoked}
        channels = (
            self.jobs.receiver, worker.stop or worker.own.receiver, self.results.sender, self.starts.sender,
            worker.cancels.receiver,
        )  # fmt: skip
        payload: Any = (
            "name",
            ("atoll._pool.worker", "serve", *_shipping.new_path()),
            (),
            (worker.number, settings, channels),
            {},
        )
        worker.handle = _native.submit(worker.host.id, worker.host.kind, payload, None, f"{self.name}_{worker.number}")
        worker.leaving = False
        worker.handle.notify(self.results.sender, worker.number)

    def _start_again(self, worker: Worker) -> None:
        self.read_starts()
        announced = worker.current
        try:
            self._start(worker)
        except AtollError as error:  # somebody closed the host
            self._fail_announced(announced, HostDied(f"cannot finish the call ({error})"))
            if worker.stop is not None:
                self.workers.pop(worker.number, None)
            else:
                self._replace(worker)

    def _lend_hand(self, host: int, stop: _native.Receiver[Any]) -> None:
        """Run another loop in a host, where a call is about to wait for other calls."""
        for lender in list(self.workers.values()):
            if lender.host is not None and lender.host.id == host and lender.stop is None:
                hand = Worker(next(self._hands))
                hand.host, hand.stop = lender.host, stop
                self.workers[hand.number] = hand
                self._start_again(hand)
                return

    def _on_end(self, number: int) -> None:
        """A worker's loop has ended; why, its outcome says."""
        worker = self.workers.get(number)
        if worker is None or worker.handle is None or not worker.handle.done():
            return
        how, value = worker.handle.outcome()
        # Struck twice, it may have had no time to say so itself.
        is_struck = value == "struck" or (how == "cancelled" and worker.leaving)
        worker.leaving = False
        if worker.stop is not None and not is_struck:
            del self.workers[number]
            return
        if is_struck:
            self._start_again(worker)
        elif how == "ok" and value == "retired" and self.workers.get(number) is worker and number < self.size:
            self._replace(worker)
        elif how == "ok":
            self._remove(worker)
        else:
            self._on_death(worker, how, value)

    def _replace(self, worker: Worker) -> None:
        host, worker.host, worker.handle = worker.host, None, None
        self._builder.order(_close, host)
        self._builder.order(self._launch, worker)

    def _remove(self, worker: Worker) -> None:
        with self.lock:
            self.workers.pop(worker.number, None)
        self._builder.order(_close, worker.host)
        self.take_own(worker)

    def _on_death(self, worker: Worker, how: str, value: Any) -> None:
        self.read_starts()
        error: BaseException
        if how == "error":
            error = load_failure(value)
        else:
            why = value if how == "died" else "it was cancelled"
            error = HostDied(f"cannot finish the call (worker {worker.number} of pool {self.name!r} ended: {why})")
        worker.deaths += 1
        self._fail_announced(worker.current, error)
        if how == "cancelled" and not self.closing and worker.deaths < _DEATHS_IN_A_ROW:
            self._start_again(worker)
            return
        if worker.deaths >= _DEATHS_IN_A_ROW or self.closing:
            self._remove(worker)
            if not self.closing and not self.workers:
                self.break_down(str(error), error)
        else:
            self._replace(worker)

    def _fail_announced(self, number: int | None, error: BaseException) -> None:
        """The call that a worker was at, if it was at one, will not be answered."""
        if number is not None and (entry := self.pending.get(number)) is not None:
            self.settle(number, entry, FINISHED, None, error)

    def resize(self, size: int) -> None:
        with self.lock:
            before, self.size = self.size, size
            self._is_full = False
        for number in range(before, size):
            worker = self.workers.get(number)
            if worker is None:
                worker = self.workers[number] = Worker(number)
                self._builder.order(self._launch, worker)
        for number in range(size, before):
            if (worker := self.workers.get(number)) is not None:
                worker.leaving = True
                worker.own.send_nowait(None)
                self._open_own(worker)
        if size < before:
            self.want_collector()

    def fork(self) -> None:
        """This is a forked child now: nothing of the pool is here."""
        self.forked = True
        self.lock = threading.Lock()
        error = AtollError(f"cannot get a result of pool {self.name!r} (this process was forked); ask in the parent")
        for entry in list(self.pending.values()):
            if type(entry) is PoolFuture:
                entry.__dict__.update(_exception=error, _state=FINISHED)
                entry.__dict__.pop("_condition", None)
            else:
                entry.__dict__.update(_error=error)
        self.pending.clear()

    # The end ------------------------------------------------------------------------------------------------------

    def break_down(self, why: str, cause: BaseException) -> None:
        """Nothing more can be done here: every call that waits fails, and so does every later `submit`."""
        with self.lock:
            if self.broken is not None:
                return
            self.broken = cause
            self._why = why
        self.closing = True
        self._close_queues()
        for number, entry in list(self.pending.items()):
            error = self._new_broken()
            self.settle(number, entry, FINISHED, None, error)
        self.want_collector()

    def _new_broken(self) -> AtollError:
        error = self._broken_type(f"cannot use pool {self.name!r} ({self._why}); open a new one")
        error.__cause__ = self.broken
        return error

    def shut_down(self, wait: bool, cancel_futures: bool, cancel_running: bool = False) -> None:
        with self.lock:
            self.closing = True
        if cancel_futures:
            self.take_back(None)
            for number in list(self.workers):
                with contextlib.suppress(KeyError):
                    self.take_back(None, number)
        if cancel_running:
            for number in list(self.pending):
                self.strike(number, 0.0)
        self._close_queues()
        if not wait:
            if not self.over.is_set():
                self.want_collector()
            return
        self.wait(_End(self), None)

    def _close_queues(self) -> None:
        """Send the workers home, as soon as no call waits any more, or at once if the pool is broken."""
        with self.lock:
            workers = list(self.workers.values())
            if self.broken is not None:
                self.queue.close()
            elif any(len(worker.own) for worker in workers) or not self.queue.close_if_empty():
                return
            for worker in workers:
                worker.own.close()

    def _has_calls(self) -> bool:
        return bool(len(self.queue) or any(len(worker.own) for worker in list(self.workers.values())))

    def try_to_end(self) -> bool:
        """Whether all is over: every worker has gone and its host is closed."""
        if self.over.is_set():
            return True
        if not self.closing or self.workers or self._builder.is_busy:
            return False
        for number, entry in list(self.pending.items()):
            error = HostDied(f"cannot finish the call (the workers of pool {self.name!r} have gone)")
            self.settle(number, entry, FINISHED, None, error)
        self.over.set()
        if self._collector is not None:
            self._wake.send_nowait(True)
        return True

    def _log_few(self, running: int, error: BaseException) -> None:
        import logging

        logging.getLogger("atoll").warning(
            "pool %r runs with %d of %d workers: %s", self.name, running, self.size, error
        )

    def _log_broken_initializer(self, error: BaseException) -> None:
        import logging

        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=error)


class _End:
    """Waits for the end of the pool."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def is_over(self) -> bool:
        return self._core.try_to_end()

    def follow(self, timeout: float | None) -> bool:
        return self._core.over.wait(timeout)


def _close(host: Interpreter | None) -> None:
    if host is not None:
        with contextlib.suppress(TimeoutError, AtollError):
            host.close()

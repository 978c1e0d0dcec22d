"""Who puts calls into a pool's queue and takes their results out: the pool itself, or a task that was given the pool.

# Who takes the results out

Workers put results into one channel. Whoever waits for a result takes the *lead*: it takes results from the channel
and settles futures until its own is among them, so one call after the other costs no change of threads in this
interpreter. Others that wait meanwhile follow: they sleep on their future's condition. As soon as somebody
follows, or wants to be told in another way (callbacks, `wait`, `as_completed`, time limits), the *collector*, a thread
of the pool's, is woken and leads while calls are out.

# Invariants

- C1 At most one thread leads: the one whose token is in `_lead`. Who steps down wakes the collector if it is wanted.
- C2 A result is in `_inbox` from the moment it leaves the channel, and stays until it has been dealt with, even if the
  handler of a signal raises in between; dealing with it twice does no harm.
- C3 Callbacks are called by the collector while it does not lead.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from typing import Any, Protocol

from .. import _exit, _native, _shipping
from .._errors import Cancellation, ChannelClosed, CloneError
from .._failures import load_failure
from .future import PoolFuture
from .queue import Call
from .worker import FAILED, OK, STARTED, number_of_lost

_SMALL_BLOB = 16_384
"""A function of at most so many bytes travels with every call; a larger one waits in a channel to be fetched once."""

_MOST_LARGE = 64
_MOST_NAMED = 128
MOST_UNREAD = 1024
CANCEL_WAIT = 0.1


class Waiter(Protocol):
    """Who waits: `done()` is asked after every result, `follow` waits while somebody else leads."""

    def is_over(self) -> bool: ...
    def follow(self, timeout: float | None) -> bool: ...


class _Named:
    """An importable function, and what it was found to be; that holds as long as the name means it."""

    __slots__ = ("by_value", "fn", "home", "module", "name", "path", "shipment")

    def __init__(self, fn: Callable[..., Any], path: tuple[str, ...], shipment: Any) -> None:
        self.fn = fn
        self.path = path
        self.shipment = shipment
        self.home, self.name = shipment[1][:2]
        self.module = sys.modules.get(self.home)
        self.by_value = _sent_by_value()

    def means(self, fn: Callable[..., Any], path: tuple[str, ...]) -> bool:
        return (
            self.fn is fn
            and sys.modules.get(self.home) is self.module
            and getattr(self.module, self.name, None) is fn
            and self.path == path
            and self.by_value == (_sent_by_value() if "cloudpickle.cloudpickle" in sys.modules else 0)
        )


def _sent_by_value() -> int:
    """How many modules the user told cloudpickle to send by value."""
    inside = sys.modules.get("cloudpickle.cloudpickle")
    return len(getattr(inside, "_PICKLE_BY_VALUE_MODULES", ()))


class Client(ABC):
    """One side of a pool's queue."""

    def __init__(self, name: str, size: int, jobs: _native.Channel[Any], first_number: int = 1) -> None:
        self.lock = threading.Lock()
        self.name = name
        self.size = size
        self.jobs = jobs
        self.results: _native.Channel[Any] = _native.Channel(None)
        self.forked = False
        self.over = threading.Event()
        self.pending: dict[int, Any] = {}
        self.submitted = 0
        self.finished = 0
        self.cancelled = 0
        self._numbers = itertools.count(first_number)
        self._lead: dict[str, object] = {}
        self._inbox: deque[Any] = deque()
        self._timeouts: deque[float | None] = deque()
        self._pull = map(self._inbox.append, map(self.results.recv, iter(self._timeouts.popleft, object())))
        self._callbacks: deque[PoolFuture[Any]] = deque()
        self._collector: threading.Thread | None = None
        self._wake: _native.Channel[bool] = _native.Channel(None)
        self._wanted = False
        self._deadlines: dict[int, float] = {}
        self._named: dict[int, _Named] = {}
        self._large: dict[bytes, _native.Channel[bytes]] = {}

    @abstractmethod
    def check_open(self) -> None:
        """Raise what `submit` raises if no calls are taken."""

    @abstractmethod
    def cancel(self, future: PoolFuture[Any]) -> None:
        """Take the future's call back, or throw a cancellation into it."""

    @abstractmethod
    def is_running(self, future: PoolFuture[Any]) -> bool:
        """Whether a worker is at work on it."""

    @abstractmethod
    def abandon(self, number: int) -> None:
        """Nobody wants the results of these calls any more: take back those that wait, stop those that run."""

    @abstractmethod
    def strike(self, number: int, wait: float) -> None:
        """Throw a cancellation into a running call, and into nothing else."""

    @abstractmethod
    def put(self, call: Call, worker: int | None) -> None:
        """Put a call into a queue."""

    @abstractmethod
    def hear(self, word: Any) -> None:
        """Deal with what came over the channel of results and is none."""

    @abstractmethod
    def is_busy(self) -> bool:
        """Whether anything is still to come over the channel of results that somebody should see."""

    @abstractmethod
    def tidy(self) -> None:
        """Do what is to be done after some results."""

    # Calls --------------------------------------------------------------------------------------------------------

    def submit(
        self, shipment: Any, args: Any, kwargs: Any, worker: int | None, extra: dict[str, Any] | None
    ) -> PoolFuture[Any]:
        self.check_open()
        number = next(self._numbers)
        future: PoolFuture[Any] = PoolFuture(self, number, worker, extra.get("timeout") if extra else None)
        self.send(number, future, (number, extra, args, kwargs, shipment), worker)
        if extra and "timeout" in extra:
            self.want_collector()
        return future

    def next_number(self) -> int:
        return next(self._numbers)

    def send(self, number: int, entry: Any, call: Call, worker: int | None = None) -> None:
        """Put a call into the queue; `entry` is told what comes of it."""
        self.pending[number] = entry
        self.submitted += 1
        try:
            self.put(call, worker)
        except BaseException as error:
            self.pending.pop(number, None)
            if isinstance(error, CloneError):
                raise _of_arguments(error) from None
            if isinstance(error, ChannelClosed):
                self.check_open()
            raise
        if len(self.results) > MOST_UNREAD:
            self.poll()

    def pack(self, fn: Callable[..., Any]) -> Any:
        """A function as the workers want it."""
        path = _shipping.new_path()
        known = self._named.get(id(fn))
        if known is not None and known.means(fn, path):
            return known.shipment
        _shipping.refuse_async(fn, "give", " to a pool")
        how, target, ends, region = _shipping.pack(fn, path)
        if region is None:
            if "." not in target[1]:
                while len(self._named) >= _MOST_NAMED:
                    self._named.pop(next(iter(self._named)), None)
                self._named[id(fn)] = _Named(fn, path, (how, target, ends, None))
            return how, target, ends, None
        blob = region.bytes()
        if len(blob) <= _SMALL_BLOB or ends:
            return how, target, ends, blob
        key = target[0] if type(target) is tuple else target
        with self.lock:
            channel = self._large.get(key)
            if channel is None:
                channel = _native.Channel(None)
                channel.send_nowait(blob)
                while len(self._large) >= _MOST_LARGE:
                    del self._large[next(iter(self._large))]
                self._large[key] = channel
        return how, target, ends, channel

    # Waiting ------------------------------------------------------------------------------------------------------

    def wait(self, waiter: Waiter, timeout: float | None) -> None:
        """Return when the waiter is over. Raises TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        token = object()
        try:
            while not waiter.is_over():
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not self._deadlines and self._lead.setdefault("lead", token) is token:
                    try:
                        self._take_one(left)
                    except TimeoutError:
                        if not waiter.is_over():
                            raise TimeoutError(_TOO_LATE.format(timeout=timeout)) from None
                else:
                    self._step_down(token)
                    self.want_collector()
                    if not waiter.follow(left):
                        raise TimeoutError(_TOO_LATE.format(timeout=timeout))
        finally:
            self._step_down(token)

    def _step_down(self, token: object) -> None:
        if self._lead.get("lead") is token:
            del self._lead["lead"]
            if self._wanted or self._callbacks:
                self._wake_collector()

    def poll(self) -> None:
        """Deal with the results that are there, unless somebody else does. Never blocks."""
        if not (len(self.results) or self._inbox):
            return
        token = object()
        try:
            if self._lead.setdefault("lead", token) is token:
                while len(self.results) or self._inbox:
                    self._take_one(0.0)
        except TimeoutError:
            pass
        finally:
            self._step_down(token)

    def _take_one(self, timeout: float | None) -> None:
        """Deal with one result or more, waiting for the first; only the leader calls this."""
        if not self._inbox:
            self._timeouts.clear()
            self._timeouts.append(timeout)
            try:
                next(self._pull)
            except BaseException as error:
                self._deal_with_lost(error)
        while self._inbox:
            self._deal_with(self._inbox[0])
            self._inbox.popleft()
        self.tidy()

    def want_collector(self) -> None:
        """Have somebody else than a waiter lead as long as calls are out."""
        self._wanted = True
        self._wake_collector()

    def _wake_collector(self) -> None:
        if self._collector is None:
            with self.lock:
                if self._collector is None:
                    thread = in_thread(self._collect, f"{self.name} collector")
                    try:
                        thread.start()
                    except RuntimeError:  # the interpreter is on its way out: whoever waits leads
                        return
                    self._collector = thread
        self._wake.send_nowait(True)

    def _collect(self) -> None:
        """The collector's whole life."""
        token = object()
        while not self.over.is_set() or self._callbacks:
            self._wake.recv()
            try:
                while self._lead.setdefault("lead", token) is token:
                    try:
                        if not self.is_busy() and not self._callbacks:
                            self._wanted = False
                            if not self.is_busy():
                                break
                        if not self._callbacks:
                            self._take_one(self._seconds_to_deadline())
                    except TimeoutError:
                        self._end_late_calls()
                    finally:
                        self._lead.pop("lead", None)
                    while self._callbacks:
                        self._callbacks.popleft().call_callbacks()
            except Cancellation:
                return  # the host of this interpreter closes

    # Results --------------------------------------------------------------------------------------------------------

    def _deal_with(self, message: Any) -> None:
        if type(message) is int or message[1] > STARTED:
            self.hear(message)
            return
        number, how, value, position = message
        entry = self.pending.get(number)
        if entry is None:
            return
        if how == OK and type(entry) is PoolFuture and entry.settle_unseen(value):
            # What nearly every call comes to; the rest is for those that somebody else waits for.
            del self.pending[number]
            self.finished += 1
            return
        if how == STARTED:
            self._deadlines[number] = time.monotonic() + entry._timeout
            self.want_collector()
        elif type(entry) is not PoolFuture:
            if entry.take(how, value, position):
                self.forget(number)
        elif how == OK:
            self.settle(number, entry, FINISHED, value)
        elif how == FAILED:
            self.settle(number, entry, FINISHED, None, load_failure(value))
        else:
            self.cancelled += 1
            self.settle(number, entry, CANCELLED_AND_NOTIFIED)

    def _deal_with_lost(self, error: BaseException) -> None:
        """A result that cannot be rebuilt here is lost; its call ends by the error. Any other error is raised."""
        lost = number_of_lost(error)
        if lost is None:
            raise error
        number, _ = lost
        if (entry := self.pending.get(number)) is not None:
            self.settle(number, entry, FINISHED, None, error)
        if not isinstance(error, Exception):
            raise error

    def settle(
        self, number: int, entry: Any, state: str, value: Any = None, error: BaseException | None = None
    ) -> None:
        """Let a call end so."""
        if type(entry) is PoolFuture:
            entry.settle(state, value, error)
            if entry.has_callbacks():
                self._callbacks.append(entry)
        elif error is not None:
            entry.fail(error)
        else:
            entry.drop()
        self.forget(number)

    def forget(self, number: int) -> None:
        """A call is over."""
        self.pending.pop(number, None)
        self._deadlines.pop(number, None)
        self.finished += 1

    def drop(self, number: int) -> None:
        """A call was taken back before it began."""
        entry = self.pending.get(number)
        if entry is not None:
            self.cancelled += 1
            self.settle(number, entry, CANCELLED_AND_NOTIFIED)
            if self._callbacks:
                self.want_collector()

    def _seconds_to_deadline(self) -> float | None:
        if not self._deadlines:
            return None
        return max(0.0, min(self._deadlines.values()) - time.monotonic())

    def _end_late_calls(self) -> None:
        now = time.monotonic()
        for number, deadline in list(self._deadlines.items()):
            if deadline > now:
                continue
            future = self.pending.get(number)
            self._deadlines.pop(number, None)
            if future is None:
                continue
            text = f"cannot finish the call (it ran longer than its timeout of {future._timeout:g} s); allow it more"
            future.settle(FINISHED, None, TimeoutError(text))
            self.strike(number, CANCEL_WAIT)
            self.settle(number, future, FINISHED)


_TOO_LATE = "cannot get the result of the call (it has not ended after {timeout} s); wait longer"


def in_thread(target: Callable[[], None], name: str) -> threading.Thread:
    """A thread that does not hold the interpreter back."""
    # A sub-interpreter refuses daemon threads; there the end of the pool, or of the host, ends the thread.
    return threading.Thread(target=target, name=name, daemon=_native.current_host() == _exit.MAIN_HOST)


def _of_arguments(error: CloneError) -> CloneError:
    """The error with the path as the caller of `submit` would write it."""
    place, _, rest = error.path.partition("]")
    names = {"[1": "fn", "[2": "args", "[3": "kwargs", "[4": "context"}
    name = names.get(place[place.find("[") :])
    return CloneError(error.path if name is None else name + rest, error.type_name, hint=error.hint)

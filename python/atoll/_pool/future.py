"""The future of a call that a pool makes.

A `concurrent.futures.Future` that costs little as long as nobody but its own waiter asks for it: its condition, its
list of waiters and its callbacks come into being when they are first used. Who looks at them wants to be told by
somebody else, so from then on the pool's collector is at work (see `client`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from .client import Client

_DONE = (FINISHED, CANCELLED_AND_NOTIFIED, CANCELLED)


class _Late:
    """An attribute that is made when it is first asked for, in one piece with what `settle` does."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, future: PoolFuture[Any] | None, owner: type) -> Any:
        if future is None:
            return self
        core = future._core
        with core.lock:
            value = future.__dict__.setdefault(self._name, self._make())
        if future._state not in _DONE:
            core.want_collector()
        return value


class PoolFuture[T](Future[T]):
    """A call of a pool: as `concurrent.futures.Future`, but `cancel` also stops a call that runs.

    Made by `Pool.submit`.
    """

    _state: str = PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _condition = _Late(threading.Condition)
    _waiters = _Late(list)
    _done_callbacks = _Late(list)

    def __init__(self, core: Client, number: int, worker: int | None = None, timeout: float | None = None) -> None:
        # Not the base's: it would make all that is made late.
        self._core = core
        self._number = number
        self._worker = worker
        self._timeout = timeout

    def result(self, timeout: float | None = None) -> T:
        """Wait for the call to end and return what it returned.

        Blocks up to *timeout* seconds (None: for ever); signals still arrive. Raises the call's own exception with the
        remote traceback as its cause, `concurrent.futures.CancelledError`, BrokenPool, HostDied or TimeoutError.

            pool.submit(math.sqrt, 2.0).result()
        """
        if self._state not in _DONE:
            self._core.wait(self, timeout)
        if self._state is FINISHED and self._exception is None:
            result: T = self._result
            return result
        return self._raise()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the call to end and return the exception it ended by, or None if it returned.

        Blocks and raises as `result` does, but for the call's own exception.
        """
        if self._state not in _DONE:
            self._core.wait(self, timeout)
        if self._state is FINISHED:
            return self._exception
        raise CancelledError

    def _raise(self) -> NoReturn:
        if self._state is not FINISHED:
            raise CancelledError
        error = self._exception
        assert error is not None
        try:
            raise error
        finally:
            # The traceback of the error refers to this frame: without this, a cycle.
            del self, error

    def cancel(self) -> bool:
        """Take the call back if it waits; throw `atoll.Cancellation` into it if it runs.

        A running call is given 0.1 s to end. Returns True if the call never ran or ended by its cancellation, False
        if it had ended before, caught the Cancellation, or is in C code that does not return: the Cancellation then
        strikes when it does.
        """
        if self._state not in _DONE:
            self._core.cancel(self)
        return self._state in (CANCELLED, CANCELLED_AND_NOTIFIED)

    def cancelled(self) -> bool:
        """Whether the call ended by `cancel`. Never blocks."""
        return self.done() and self._state is not FINISHED

    def done(self) -> bool:
        """Whether the call has ended, in whatever way. Never blocks."""
        if self._state not in _DONE:
            self._core.poll()
        return self._state in _DONE

    def running(self) -> bool:
        """Whether a worker is at work on the call right now. Never blocks."""
        return not self.done() and self._core.is_running(self)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have `fn(future)` called when the call has ended: at once if it has, else on a thread of the pool's."""
        with self._condition:
            if self._state not in _DONE:
                self._done_callbacks.append(fn)
                return
        self._call(fn)

    def settle_unseen(self, result: Any) -> bool:
        """Let the call return *result*, if nobody looks at the future but, perhaps, the thread that does this."""
        own = self.__dict__
        with self._core.lock:
            if "_condition" in own or "_state" in own or self._timeout is not None:
                return False
            own["_result"] = result
            own["_state"] = FINISHED
        return True

    def settle(self, state: str, result: Any = None, exception: BaseException | None = None) -> bool:
        """Let the call end so; whether it was the first to say so. Callbacks are left to `call_callbacks`."""
        own = self.__dict__
        with self._core.lock:
            if "_condition" not in own:
                if own.get("_state", PENDING) in _DONE:
                    return False
                own["_result"], own["_exception"] = result, exception
                own["_state"] = state
                return True
        with own["_condition"]:
            # Done, but nobody told: a signal's handler interrupted an earlier attempt, which is made again.
            if "_told" in own or own.get("_state", PENDING) not in (PENDING, state):
                return False
            own["_result"], own["_exception"] = result, exception
            own["_state"] = state
            for waiter in own.get("_waiters", ()):
                if state == CANCELLED_AND_NOTIFIED:
                    waiter.add_cancelled(self)
                elif exception is not None:
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
            own["_condition"].notify_all()
            own["_told"] = True
        return True

    def is_over(self) -> bool:
        """Whether `result` has something to return. What the pool's core asks."""
        return self._state in _DONE

    def follow(self, timeout: float | None) -> bool:
        """Wait while somebody else takes the results out."""
        with self._condition:
            return self._state in _DONE or self._condition.wait(timeout)

    def has_callbacks(self) -> bool:
        return bool(self.__dict__.get("_done_callbacks"))

    def call_callbacks(self) -> None:
        callbacks = self.__dict__.get("_done_callbacks", [])
        while callbacks:
            self._call(callbacks.pop(0))

    def _call(self, fn: Callable[[Future[T]], object]) -> None:
        try:
            fn(self)
        except Exception:
            import logging

            logging.getLogger("concurrent.futures").exception("exception calling callback for %r", self)

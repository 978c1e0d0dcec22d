"""A pool as a task sees it that was given the pool: it submits to the same queue.

While a call waits for other calls of its pool it would keep its worker from making them, and if all workers waited so,
none would ever go on. So whoever waits in a worker asks for a hand: another loop in the same interpreter, which takes
calls for as long as the wait goes on. The worker's interpreter then runs as many calls at once as wait, plus one.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any, NoReturn

from .. import _native
from .._errors import ChannelClosed
from ..pool import Pool, PoolStats
from .client import CANCEL_WAIT, Client, Waiter
from .future import PoolFuture
from .queue import Call
from .worker import HAND, STRIKE

_GRACE = 0.002
"""Seconds that a call waits before it asks for a hand: the pool may have an idle worker."""

_faces: dict[int, NestedPool] = {}
_lock = threading.Lock()


def connect(name: str, size: int, jobs: _native.Channel[Any], words: _native.Sender[Any]) -> NestedPool:
    """The face of a pool in this interpreter; one for all tasks that ask."""
    with _lock:
        face = _faces.get(words.id)
        if face is None or face._core.host != _native.current_host():
            face = _faces[words.id] = NestedPool(NestedClient(name, size, jobs, words))
    return face


class NestedClient(Client):
    """Puts calls into the queue of a pool that is elsewhere, and has the answers sent here."""

    def __init__(self, name: str, size: int, jobs: _native.Channel[Any], words: _native.Sender[Any]) -> None:
        self.host = _native.current_host()
        super().__init__(name, size, jobs, (self.host << 40) + 1)
        self._words = words
        self._hand: _native.Channel[Any] | None = None

    def check_open(self) -> None:
        pass  # a queue that is closed says so

    def put(self, call: Call, worker: int | None) -> None:  # noqa: ARG002
        number, extra, args, kwargs, shipment = call
        extra = {**(extra or {}), "reply": self.results.sender}
        try:
            self.jobs.send_nowait((number, extra, args, kwargs, shipment))
        except ChannelClosed:
            raise RuntimeError(
                f"cannot schedule new futures after shutdown (pool {self.name!r} takes no more calls); "
                "submit before it is shut down"
            ) from None

    def hear(self, word: Any) -> None:
        pass  # workers talk to the pool

    def tidy(self) -> None:
        pass

    def is_busy(self) -> bool:
        return bool(self.pending)

    def wait(self, waiter: Waiter, timeout: float | None) -> None:
        if waiter.is_over():
            return
        brief = _GRACE if timeout is None else min(timeout, _GRACE)
        try:
            super().wait(waiter, brief)
        except TimeoutError:
            if brief == timeout:
                raise
            hand = self._ask_for_hand()
            try:
                super().wait(waiter, timeout)
            finally:
                hand.close()

    def want_collector(self) -> None:
        super().want_collector()
        if self.pending and self._hand is None:
            # Somebody is about to wait in a way that is not ours: `concurrent.futures.wait`, say.
            self._hand = self._ask_for_hand()

    def forget(self, number: int) -> None:
        super().forget(number)
        if not self.pending and self._hand is not None:
            self._hand.close()
            self._hand = None

    def _ask_for_hand(self) -> _native.Channel[Any]:
        stop: _native.Channel[Any] = _native.Channel(None)
        self._words.send_nowait((self.host, HAND, stop.receiver, 0))
        return stop

    def cancel(self, future: PoolFuture[Any]) -> None:
        self.poll()
        if future._number in self.pending:
            self.strike(future._number, 0.0)
            with suppress(TimeoutError):
                super().wait(future, CANCEL_WAIT)

    def abandon(self, number: int) -> None:
        self.strike(number, 0.0)
        self.forget(number)

    def strike(self, number: int, wait: float) -> None:  # noqa: ARG002
        self._words.send_nowait((number, STRIKE, None, 0))

    def is_running(self, future: PoolFuture[Any]) -> bool:  # noqa: ARG002
        return False  # only the pool knows


class NestedPool(Pool):
    """The pool that a task was given: submits and maps; the pool's opener shuts it down."""

    def __init__(self, client: NestedClient) -> None:
        self._core = client
        self._name = client.name
        self._context = ()

    @property
    def workers(self) -> tuple[int, ...]:
        return ()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: the pool belongs to who opened it."""

    def resize(self, workers: int) -> NoReturn:  # noqa: ARG002
        raise RuntimeError(f"cannot resize pool {self._name!r} (a task was given it); do it where it was opened")

    def stats(self) -> PoolStats:
        core = self._core
        return PoolStats(
            self._name, core.size, (), core.submitted, core.finished, core.cancelled, len(core.jobs), False, False
        )

    def __exit__(self, *_: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"<atoll.Pool {self._name!r} {self._core.size} workers, seen from a task>"

    def __reduce__(self) -> Any:
        client = self._core
        return connect, (client.name, client.size, client.jobs, client._words)

    def __del__(self) -> None:
        pass

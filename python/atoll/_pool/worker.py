"""What runs in a worker of a pool: take a call from the queue, make it, send what came of it, take the next.

# Protocol

A call is `(number, extra, args, kwargs, shipment)`, in the queue that all workers share or in the worker's own. What
goes back over `results` is `(number, how, value, position)`; `how` is one of the words below. Before anything else is
done with a call, its number goes to `starts`, which nobody waits for: there the pool reads who is at work on what.

To cancel a call that is in no queue the pool puts its number into the worker's `cancels`, looks at `starts` again, and
if the worker is at that call, has `Cancellation` thrown at it and says STRUCK; if not, it says WITHDRAWN. The worker
looks into `cancels` after it has announced a call and when a call has ended. Either it sees the number and waits for
the verdict, or the pool sees that it has gone on: a cancellation never hits a call that it was not meant for.

A call that nobody has announced is on its way: in the hand of a worker that is about to announce it, or whose loop was
ended by another cancellation and starts again. So the number goes to every worker then, and to every loop that starts,
and stays *revoked* there, whatever the verdict: who comes upon that call answers that it was cancelled.

# Invariants

- W1 A call is in its loop's `hand` from the moment it leaves the queue, whatever is thrown: `map` and `append` are one
  step.
- W2 A call that was begun is answered at least once, and never begun again; the pool ignores a second answer.
- W3 After it was struck the worker returns, since a task can be cancelled only once; the pool starts it again, and a
  call that it had taken but not begun is still in `hand`.
- W4 A revoked call is not begun: its number is among `revoked` before the pool's verdict comes, and before the loop
  that finds it in its hand takes its first step.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from itertools import repeat
from time import perf_counter
from types import SimpleNamespace

from .. import _loading, _native
from .._errors import Cancellation, ChannelClosed, CloneError

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from collections.abc import Callable
    from typing import Any

OK, FAILED, CANCELLED, PART, STARTED, BROKEN, REPORT, HAND, STRIKE = range(9)
"""How a result is to be understood; PART is some values of a chunk and, if one failed, the failure.

From STARTED on they are no results, but words to the pool. HAND asks for another loop in the host, by a call that is
about to wait for other calls; STRIKE asks for the cancellation of a running call.
"""

WITHDRAWN, STRUCK = -1, -2
"""The verdicts on `cancels`; anything else there is the number of a call."""

MOST_REVOKED = 256
"""So many numbers are kept; the calls of those before them have long been answered."""

IDLE = 0
"""In place of a call's number: none is at hand. On `cancels` it has the worker look into its own queue from now on."""

SPLIT, WHOLE = -1, -2
"""In place of keyword arguments: the call is a chunk, which may be split with an idle worker or has to stay whole."""

FLUSH_SECONDS = 0.02
"""What a long chunk has got so far goes back this often."""

_BLOCK_SECONDS = 0.0005
"""The clock is looked at about this often."""

_hands: dict[int, tuple[deque[Any], list[int]]] = {}
"""What each loop of this host has in hand, and the number of the call if it was begun."""

_state: list[tuple[int, SimpleNamespace]] = []

type Settings = dict[str, Any]


def serve(worker: int, settings: Settings, channels: tuple[Any, ...]) -> str:
    """Make calls until both queues are closed; why it ended is what it returns: closed, retired, struck or broken."""
    jobs, own, results, starts, cancels = channels
    hand, begun = _hands.setdefault(worker, (deque(), []))
    try:
        if not _state or _state[0][0] != _native.current_host():
            # An isolate keeps this module from one session to the next, which starts anew.
            _forget()
            _hands[worker] = hand, begun
            _state.append((_native.current_host(), SimpleNamespace()))
            blob = _initialize(worker, settings, results)
            if blob is not None:
                results.send_nowait((worker, BROKEN, blob, 0))
                return "broken"
        why = _Loop(worker, settings, jobs, own, results, starts, cancels).run()
        if why == "struck":
            return why  # it comes again, and finds what it has in hand
        if worker < 0:
            del _hands[worker]
        else:
            _forget()
        return why
    except Cancellation:
        # In the loop's own code: the call in hand, if it was begun, has been answered or is answered now (W2).
        if hand and hand[0][1] is not None and begun == [hand[0][1][0]]:
            _answer(results, hand[0][1][1], (begun[0], CANCELLED, None, 0))
            hand.clear()
        return "struck"


def worker_state() -> SimpleNamespace:
    """The namespace of the worker that runs this call: what one call leaves in it, the next one finds.

    It lives as long as the worker's interpreter: `max_tasks_per_child`, `resize` and `shutdown` end it. Never blocks.
    Raises RuntimeError outside of a pool's worker.

        state = atoll.worker_state()
        state.connection = connect()      # in the pool's initializer, say
    """
    if not _state or _state[0][0] != _native.current_host():
        raise RuntimeError("cannot find the worker's state (this code runs in no pool); call it in a task of a Pool")
    return _state[0][1]


def _forget() -> None:
    _state.clear()
    _hands.clear()
    _loaded.clear()


def _initialize(worker: int, settings: Settings, results: Any) -> bytes | None:
    """Get ready; what the initializer raised, packed, or None."""
    if settings["reports"] is not None:
        from .reports import redirect

        redirect(settings["reports"], results, worker)
    shipment = settings["initializer"]
    if shipment is not None:
        try:
            _load(shipment)(*settings["initargs"])
        except Cancellation:
            raise
        except BaseException as error:
            return _dump(error)
    return None


class _Loop:
    """One stay in `serve`."""

    def __init__(
        self, worker: int, settings: Settings, jobs: Any, own: Any, results: Any, starts: Any, cancels: Any
    ) -> None:
        self.worker = worker
        self.left: int | None = settings["max_tasks"]
        self.jobs, self.own, self.results, self.starts, self.cancels = jobs, own, results, starts, cancels
        self.split_to: Any = settings["split_to"]
        self.revoked: dict[int, None] = dict.fromkeys(settings["revoked"])
        self.selects: bool = settings["selects"]
        """Whether its own queue is in use: taking from two queues costs two microseconds more than taking from one."""

    def run(self) -> str:
        hand, begun = _hands[self.worker]
        starts, cancels, worker = self.starts, self.cancels, self.worker
        starts.send_nowait((worker, IDLE))  # from now on it may be struck
        if len(cancels) and self.is_struck():
            return "struck"
        take = self.taking(hand)
        while True:
            if not hand:
                begun.clear()
                try:
                    if next(take, self) is self:
                        return "closed"
                except BaseException as error:
                    if self.is_unreadable(error):
                        continue
                    if not isinstance(error, ChannelClosed):
                        raise
                    if worker < 0:
                        return "closed"  # the hand is needed no more
                    # The other queue may hold calls yet: they come out one by one until it is closed, too.
                    other = self.own if error.case is self.jobs else self.jobs
                    take = map(hand.append, zip(repeat(other), other))
                    continue
            call = hand[0][1]
            if call is None:
                hand.clear()
                return "retired"
            number, extra, args, kwargs, shipment = call
            starts.send_nowait((worker, number))
            if len(cancels):
                if self.is_struck():
                    return "struck"
                take = self.taking(hand)
            if number in self.revoked or begun:  # begun: by the loop before this one, that was struck
                _answer(self.results, extra, (number, CANCELLED, None, 0))
                done = 0
            else:
                begun.append(number)
                if type(kwargs) is dict:
                    self.call(number, shipment, args, kwargs, extra)
                    done = 1
                else:
                    done = self.chunk(number, shipment, args, kwargs, extra)
            hand.clear()
            starts.send_nowait((worker, IDLE))
            if len(cancels):
                if self.is_struck():
                    return "struck"
                take = self.taking(hand)
            if self.left is not None:
                self.left -= done
                if self.left <= 0:
                    return "retired"

    def taking(self, hand: deque[Any]) -> Any:
        """An iterator that puts the next call into the hand, with the queue that it came from (W1)."""
        if self.selects:
            return map(hand.append, map(_native.select, repeat(self.jobs), repeat(self.own)))
        return map(hand.append, zip(repeat(self.jobs), self.jobs, strict=False))

    def is_unreadable(self, error: BaseException) -> bool:
        """Whether a call was taken whose arguments cannot be rebuilt here. It is answered, as nobody else can do so."""
        lost = number_of_lost(error)
        if lost is None:
            return False
        number, extra = lost
        if isinstance(error, Cancellation):
            _answer(self.results, extra, (number, CANCELLED, None, 0))
            return False
        _answer(self.results, extra, (number, FAILED, _dump(error), 0))
        return True

    def call(self, number: int, shipment: Any, args: Any, kwargs: dict[str, Any], extra: Any) -> None:
        """One call, answered."""
        try:
            fn = _load(shipment)
            value = fn(*args, **kwargs) if extra is None else self.call_with(number, extra, fn, args, kwargs)
            how = OK
        except Cancellation:
            how, value = CANCELLED, None
        except BaseException as error:
            how, value = FAILED, _dump(error)
        _flush()
        try:
            _answer(self.results, extra, (number, how, value, 0))
        except CloneError as error:
            _answer(self.results, extra, (number, FAILED, _dump(_of_result(error)), 0))
        except Cancellation:
            raise
        except BaseException as error:
            _answer(self.results, extra, (number, FAILED, _dump(error), 0))

    def call_with(self, number: int, extra: dict[str, Any], fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if "timeout" in extra:
            _answer(self.results, extra, (number, STARTED, None, 0))
        context = extra.get("context")
        if context is None:
            return fn(*args, **kwargs)
        from contextvars import copy_context

        from .context import find

        inside = copy_context()
        for (_, home, name), value in context:
            inside.run(find(home, name).set, value)
        return inside.run(fn, *args, **kwargs)

    def chunk(self, number: int, shipment: Any, columns: Any, mode: int, extra: Any) -> int:
        """Many calls of one function, answered in parts; how many were made here.

        If all other calls have been taken, half of what is left goes back into the queue: an idle worker takes it.
        """
        position, columns = columns[0], columns[1:]
        values: list[Any] = []
        sent = done = 0
        failure: bytes | None = None
        count = len(columns[0])
        try:
            fn = _load(shipment)
            block, append = 1, values.append
            flushed = clock = perf_counter()
            while done < count and failure is None:
                end = min(done + block, count)
                try:
                    if len(columns) == 1:
                        for item in columns[0][done:end]:
                            append(fn(item))
                    else:
                        for items in zip(*(column[done:end] for column in columns), strict=True):
                            append(fn(*items))
                except Cancellation:
                    raise
                except BaseException as error:
                    failure = _dump(error)
                    break
                done = end
                before, clock = clock, perf_counter()
                if clock - before < _BLOCK_SECONDS:
                    block *= 2
                elif block > 1:
                    block //= 2
                if clock - flushed > FLUSH_SECONDS and done < count:
                    self.send_part(number, extra, position + sent, values)
                    sent += len(values)
                    values.clear()
                    flushed = clock
                if mode == SPLIT and count - done > block and self.somebody_idles():
                    count = self.give_half(number, shipment, columns, extra, position, done, count)
        except Cancellation:
            _answer(self.results, extra, (number, CANCELLED, None, 0))
            return done
        except BaseException as error:  # the function cannot be loaded
            failure = _dump(error)
        _flush()
        self.send_part(number, extra, position + sent, values, failure, count - sent - len(values))
        return done

    def somebody_idles(self) -> bool:
        return not len(self.jobs) and self.jobs.stats().blocked_receivers > 0

    def give_half(
        self, number: int, shipment: Any, columns: Any, extra: Any, position: int, done: int, count: int
    ) -> int:
        half = done + (count - done + 1) // 2
        rest = (position + half, *(column[half:count] for column in columns))
        try:
            self.split_to.send_nowait((number, extra, rest, SPLIT, shipment))
        except ChannelClosed:  # no more calls: the pool is shutting down
            return count
        return half

    def send_part(
        self, number: int, extra: Any, position: int, values: list[Any], failure: bytes | None = None, skipped: int = 0
    ) -> None:
        """Some results of a chunk; with a *failure* the rest of it, *skipped* calls, will not be made."""
        try:
            _answer(self.results, extra, (number, PART, (values, failure, skipped), position))
        except CloneError:
            whole, failure = _sendable(values)
            skipped += len(values) - len(whole)
            _answer(self.results, extra, (number, PART, (whole, failure, skipped), position))

    def is_struck(self) -> bool:
        """Wait for the verdicts on the cancellations that are under way."""
        try:
            while len(self.cancels):
                self.revoke(self.cancels.recv())
                if self.cancels.recv() == STRUCK:
                    return True
        except Cancellation:
            return True  # its verdict is still to come, or the host closes
        return False

    def revoke(self, number: int) -> None:
        if number == IDLE:
            self.selects = True
            return
        while len(self.revoked) >= MOST_REVOKED:
            del self.revoked[next(iter(self.revoked))]
        self.revoked[number] = None


def number_of_lost(error: BaseException) -> tuple[int, Any] | None:
    """The first two items of the message that could not be rebuilt, if *error* tells of one with a number."""
    lost: tuple[int, Any] | None = getattr(error, "_rebuilt", None)
    if lost is not None:
        del error._rebuilt  # type: ignore[attr-defined]
    return lost


def unreadable(number: int, extra: Any, error: BaseException) -> tuple[Any, ...]:
    """What stands in a queue for a call that was looked at and cannot be rebuilt: a call that ends as it would have."""
    return number, extra, (_dump(error),), {}, ("name", (__name__, "raise_again"), (), None)


def raise_again(blob: bytes) -> None:
    """Raise the error that was packed."""
    from .._failures import load_failure

    raise load_failure(blob)


_loaded: dict[Any, Any] = {}


def _load(shipment: Any) -> Any:
    """The function of a shipment; a blob that is large comes in a channel of its own, from which it is only copied."""
    how, target, ends, blob = shipment
    if how == "name":
        module, qualname, *_ = target
        fn = _loaded.get((module, qualname))
        # The name may mean another function by now.
        if fn is not None and fn[1] is sys.modules.get(module) and getattr(fn[1], qualname, None) is fn[0]:
            return fn[0]
        fn = _loading.load(how, target, ends, _nothing)
        if "." not in qualname and len(_loaded) < 1000:
            _loaded[module, qualname] = (fn, sys.modules.get(module))
        return fn
    return _loading.load(how, target, ends, lambda: _peek(blob))


def _flush() -> None:
    """What the call printed is out before anyone learns that it has ended."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        pass


def _nothing() -> None:
    return None


def _peek(blob: Any) -> bytes:
    if isinstance(blob, bytes):
        return blob
    data: bytes = blob.recv()
    blob.send_nowait(data)
    return data


def _dump(error: BaseException) -> bytes:
    from .._failures import dump_failure

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    blob = dump_failure(error.with_traceback(trace or error.__traceback__))
    error.__traceback__ = None
    return blob


def _answer(results: Any, extra: dict[str, Any] | None, message: tuple[Any, ...]) -> None:
    """Send it to the pool, or to the call of another worker that wants to know."""
    if extra is None or "reply" not in extra:
        results.send_nowait(message)
        return
    with suppress(ChannelClosed):  # who asked has ended
        extra["reply"].send_nowait(message)


def _of_result(error: CloneError) -> CloneError:
    path = error.path.removeprefix("message[2]").removeprefix("value")
    return CloneError("result" + path, error.type_name, hint=error.hint.replace("(value)", "(result)"))


def _sendable(values: list[Any]) -> tuple[list[Any], bytes | None]:
    """The results before the first that cannot be cloned, and the error of that one."""
    for position, value in enumerate(values):
        try:
            _native.clone(value)
        except CloneError as error:
            return values[:position], _dump(_of_result(error))
    return values, None

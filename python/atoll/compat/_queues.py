"""Queues between interpreters: `concurrent.interpreters.Queue`, on `atoll.Channel`."""

from __future__ import annotations

import queue
import time
import weakref
from _interpqueues import QueueError, QueueNotFoundError
from collections.abc import Callable
from typing import Any, NoReturn, Self

from .. import _exit, _native
from .._errors import AtollError, ChannelEmpty, ChannelFull, CloneError
from ..cloning import register
from . import _crossing, _crossinterp, _registry
from ._crossinterp import ERROR, REMOVE, UNBOUND_ERROR, UNBOUND_REMOVE

__all__ = [
    "UNBOUND",
    "UNBOUND_ERROR",
    "UNBOUND_REMOVE",
    "ItemInterpreterDestroyed",
    "Queue",
    "QueueEmpty",
    "QueueError",
    "QueueFull",
    "QueueNotFoundError",
    "create",
    "list_all",
]


class QueueEmpty(QueueError, queue.Empty):
    """Raised from get_nowait() when the queue is empty.

    It is also raised from get() if it times out.
    """


class QueueFull(QueueError, queue.Full):
    """Raised from put_nowait() when the queue is full.

    It is also raised from put() if it times out.
    """


class ItemInterpreterDestroyed(QueueError, _crossinterp.ItemInterpreterDestroyed):
    """Raised from get() and get_nowait()."""


UNBOUND: Any = _crossinterp.make_unbound("queue", __name__)

_ATOMS = _crossing.ATOMS
_here = _registry.here
_OUTLIVES_ALL = _here() == _exit.MAIN_HOST
"""The main interpreter's items never become unbound, so they need not say whose they are."""


def create(maxsize: int = 0, *, unbounditems: Any = UNBOUND) -> Queue:
    """Return a new cross-interpreter queue.

    The queue may be used to pass data safely between interpreters.

    "unbounditems" sets the default for Queue.put(); see that method for
    supported values.  The default value is UNBOUND, which replaces
    the unbound item.
    """
    flag = _crossinterp.to_flag(unbounditems, UNBOUND)
    if not isinstance(maxsize, int):
        raise TypeError(f"an integer is required (got type {type(maxsize).__name__})")
    number, description = _registry.ask("open", "queue", maxsize, flag)
    return Queue._of(number, description)


def list_all() -> list[Queue]:
    """Return a list of all open queues."""
    queues = []
    for number, _ in _registry.ask("numbers", "queue"):
        try:
            queues.append(Queue(number))
        except QueueNotFoundError:
            pass  # it was destroyed after it was listed
    return queues


_known: weakref.WeakValueDictionary[int, Queue] = weakref.WeakValueDictionary()


class Queue:
    """A cross-interpreter queue."""

    __slots__ = ("__weakref__", "_description", "_flag", "_ghosts", "_id", "_items", "_maxsize", "_receive", "_send")

    _id: int
    _items: _native.Channel[Any]
    _ghosts: _native.Channel[None]
    _maxsize: int
    _flag: int
    _description: Any
    _send: Callable[..., None]
    _receive: Callable[..., Any]

    def __new__(cls, id: int, /) -> Self:  # noqa: A002 - as the standard library calls it
        # There is only one instance for any given ID.
        if not isinstance(id, int):
            raise TypeError(f"id must be an int, got {id!r}")
        known = _known.get(id)
        if known is not None:
            return known  # type: ignore[return-value]
        description = _registry.ask("find", "queue", int(id))
        if description is None:
            raise QueueNotFoundError(f"queue {id} not found")
        return cls._of(int(id), description)

    @classmethod
    def _of(cls, number: int, description: Any) -> Self:
        """The object for a queue whose description came from the book, or in a message."""
        known = _known.get(number)
        if known is not None:
            return known  # type: ignore[return-value]
        self = super().__new__(cls)
        self._id = number
        self._description = description
        self._items, self._ghosts, self._maxsize, self._flag = description
        self._send = self._items.send
        self._receive = self._items.recv
        _registry.ask("hold", "queue", _here(), number, description)
        return _known.setdefault(number, self)  # type: ignore[return-value]

    def __del__(self, _tell: Callable[..., None] = _registry.tell, _here: Callable[[], int] = _registry.here) -> None:
        # What this needs must not be looked up in a module that may be gone already.
        number = getattr(self, "_id", None)
        if number is not None:
            _tell("let_go", "queue", _here(), number)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"

    def __hash__(self) -> int:
        return hash(self._id)

    def __eq__(self, other: object) -> bool:
        return self is other

    # for pickling:
    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return (type(self), (self._id,))

    @property
    def id(self) -> int:
        """The number by which every interpreter finds the queue."""
        return self._id

    @property
    def unbounditems(self) -> Any:
        """What becomes of items of destroyed interpreters unless put() said otherwise."""
        return _crossinterp.to_constant(self._flag, UNBOUND)

    @property
    def maxsize(self) -> int:
        """How many items fit; 0 or less: any number."""
        return self._maxsize

    def empty(self) -> bool:
        """Whether there is nothing to get at this moment."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Whether put() would have to wait at this moment."""
        return 0 < self._maxsize <= len(self._items)

    def qsize(self) -> int:
        """How many items there are at this moment."""
        return max(0, len(self._items) - len(self._ghosts))

    def put(self, obj: Any, block: bool = True, timeout: float | None = None, *, unbounditems: Any = None) -> None:
        """Add the object to the queue.

        If "block" is true, this blocks while the queue is full.

        For most objects, the object received through Queue.get() will
        be a new one, equivalent to the original and not sharing any
        actual underlying data.  The notable exceptions include
        cross-interpreter types (like Queue) and memoryview, where the
        underlying data is actually shared.  Furthermore, some types
        can be sent through a queue more efficiently than others.  This
        group includes various immutable types like int, str, bytes, and
        tuple (if the items are likewise efficiently shareable).
        See interpreters.is_shareable().

        "unbounditems" controls the behavior of Queue.get() for the given
        object if the current interpreter (calling put()) is later
        destroyed.

        If "unbounditems" is None (the default) then it uses the
        queue's default, set with create_queue(),
        which is usually UNBOUND.

        If "unbounditems" is UNBOUND_ERROR then get() will raise an
        ItemInterpreterDestroyed exception if the original interpreter
        has been destroyed.  This does not otherwise affect the queue;
        the next call to put() will work like normal, returning the next
        item in the queue.

        If "unbounditems" is UNBOUND_REMOVE then the item will be removed
        from the queue as soon as the original interpreter is destroyed.
        Be aware that this will introduce an imbalance between put()
        and get() calls.

        If "unbounditems" is UNBOUND then it is returned by get() in place
        of the unbound item.
        """
        if not block:
            timeout = 0
        elif timeout is not None and timeout < 0:
            raise ValueError("timeout value must be non-negative")
        if _OUTLIVES_ALL and unbounditems is None and type(obj) in _ATOMS:
            try:
                self._send(obj, timeout)
            except (TimeoutError, AtollError) as error:
                self._refuse(error, QueueFull)
            return
        self._put(obj, timeout, unbounditems)

    def put_nowait(self, obj: Any, *, unbounditems: Any = None) -> None:
        """Add the object to the queue, or raise QueueFull."""
        self.put(obj, False, unbounditems=unbounditems)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next object from the queue.

        If "block" is true, this blocks while the queue is empty.

        If the next item's original interpreter has been destroyed
        then the "next object" is determined by the value of the
        "unbounditems" argument to put().
        """
        if not block:
            timeout = 0
        end = None
        if timeout is not None:
            if timeout < 0:
                raise ValueError("timeout value must be non-negative")
            end = time.monotonic() + timeout
        while True:
            try:
                item = self._receive(timeout)
            except (TimeoutError, AtollError) as error:
                self._refuse(error, QueueEmpty)
            if type(item) is not tuple:
                return item
            form, payload, flag, source = item
            if flag == REMOVE and source != _exit.MAIN_HOST:
                if not _registry.ask("taken", self._id, source):
                    self._ghosts.recv_nowait()
                    if end is not None:
                        timeout = max(0.0, end - time.monotonic())
                    continue
            elif source != _exit.MAIN_HOST and _registry.is_dead(source):
                if flag == ERROR:
                    raise ItemInterpreterDestroyed("item's original interpreter destroyed")
                return UNBOUND
            return _crossing.decode((form, payload))

    def get_nowait(self) -> Any:
        """Return the next object from the channel.

        If the queue is empty then raise QueueEmpty.  Otherwise this
        is the same as get().
        """
        return self.get(False)

    def _put(self, obj: Any, timeout: float | None, unbounditems: Any) -> None:
        """The general case: the item says what it is and whose."""
        flag = self._flag if unbounditems is None else _crossinterp.to_flag(unbounditems, UNBOUND)
        form, payload = _crossing.encode(obj)
        counted = flag == REMOVE and not _OUTLIVES_ALL
        if counted:
            _registry.ask("expect", self._id, _here())
        try:
            try:
                self._send((form, payload, flag, _here()), timeout)
            except CloneError:
                form, payload = _crossing.encode(obj, plainly=False)
                self._send((form, payload, flag, _here()), timeout)
        except BaseException as error:
            if counted:
                _registry.ask("taken", self._id, _here())
            if isinstance(error, (TimeoutError, AtollError)):
                self._refuse(error, QueueFull)
            raise

    def _refuse(self, error: Exception, out_of_time: type[QueueError]) -> NoReturn:
        """Say in this module's words why a channel did not do it."""
        if isinstance(error, (TimeoutError, ChannelFull, ChannelEmpty)):
            raise out_of_time(f"queue {self._id} is {'full' if out_of_time is QueueFull else 'empty'}") from None
        if _registry.ask("find", "queue", self._id) is None:
            raise QueueNotFoundError(f"queue {self._id} not found") from None
        raise error


def _reduce(queue: Queue) -> Any:
    """What Atoll's own tasks and channels need to carry a queue to a host that never heard of it."""
    return queue._id, queue._description, _registry.connection()


def _rebuild(parts: Any) -> Queue:
    number, description, connection = parts
    _registry.connect(*connection)
    return Queue._of(number, description)


register(Queue, _reduce, _rebuild)
_crossing.encoders[Queue] = lambda queue: (_crossing.QUEUE, (queue._id, queue._description))
_crossing.decoders[_crossing.QUEUE] = lambda payload: Queue._of(*payload)

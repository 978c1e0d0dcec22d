"""Channels between interpreters, as PEP 554 had them and CPython's `test.support.channels` has: on `atoll.Channel`.

A channel has no bound: `send` waits until its object has been received, `send_nowait` does not wait at all.
"""

from __future__ import annotations

import time
from _interpchannels import (
    ChannelClosedError,
    ChannelEmptyError,
    ChannelError,
    ChannelNotEmptyError,
    ChannelNotFoundError,
)
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, Self

from .. import _exit, _native
from .._errors import AtollError, ChannelEmpty, CloneError
from ..cloning import register
from . import _crossing, _crossinterp, _registry
from ._crossinterp import ERROR, REMOVE, UNBOUND_ERROR, UNBOUND_REMOVE

__all__ = [
    "UNBOUND",
    "UNBOUND_ERROR",
    "UNBOUND_REMOVE",
    "ChannelClosedError",
    "ChannelEmptyError",
    "ChannelError",
    "ChannelID",
    "ChannelInfo",
    "ChannelNotEmptyError",
    "ChannelNotFoundError",
    "ItemInterpreterDestroyed",
    "RecvChannel",
    "SendChannel",
    "create",
    "list_all",
]


class ItemInterpreterDestroyed(ChannelError, _crossinterp.ItemInterpreterDestroyed):
    """Raised from recv() and recv_nowait()."""


UNBOUND: Any = _crossinterp.make_unbound("channel", __name__)

_here = _registry.here
_NOT_SET: Any = object()


class ChannelID(int):
    """The number of a channel."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"ChannelID({int(self)})"

    __str__ = int.__repr__


class ChannelInfo(NamedTuple):
    """A channel at one moment."""

    closing: bool
    """It takes nothing more, and closes when it is empty."""
    closed: bool
    waiting: int
    """Items that wait to be received."""


def create(*, unbounditems: Any = UNBOUND) -> tuple[RecvChannel, SendChannel]:
    """Return (recv, send) for a new cross-interpreter channel.

    The channel may be used to pass data safely between interpreters.

    "unbounditems" sets the default for the send end of the channel.
    See SendChannel.send() for supported values.  The default value
    is UNBOUND, which replaces the unbound item when received.
    """
    flag = _crossinterp.to_flag(unbounditems, UNBOUND)
    number, description = _registry.ask("open", "channel", 0, flag)
    return RecvChannel._of(number, description), SendChannel._of(number, description)


def list_all() -> list[tuple[RecvChannel, SendChannel]]:
    """Return a list of (recv, send) for all open channels."""
    return [(RecvChannel(number), SendChannel(number)) for number, _ in _registry.ask("numbers", "channel")]


class _ChannelEnd:
    """The base class for RecvChannel and SendChannel."""

    __slots__ = ("__weakref__", "_conduit", "_id", "_is_associated")

    _end = ""
    _id: ChannelID
    _conduit: Any
    _is_associated: bool

    def __new__(cls, cid: int) -> Self:
        # The number of a channel that is closed, or never was, is as good as any: using the end then fails.
        if not isinstance(cid, int):
            raise TypeError(f"channel ID must be an int, got {type(cid).__name__}")
        if cid < 0:
            raise ValueError(f"channel ID must be a non-negative int, got {cid!r}")
        return cls._of(int(cid), None)

    @classmethod
    def _of(cls, number: int, description: Any) -> Self:
        """An end of a channel whose description came from the book, or in a message, or is to be looked up."""
        self = super().__new__(cls)
        self._id = ChannelID(number)
        self._is_associated = False
        self._conduit = _registry.ask("hold", "channel", _here(), number, description)
        return self

    def __del__(self, _tell: Callable[..., None] = _registry.tell, _here: Callable[[], int] = _registry.here) -> None:
        # What this needs must not be looked up in a module that may be gone already.
        if getattr(self, "_conduit", None) is not None:
            _tell("let_go", "channel", _here(), int(self._id))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={int(self._id)})"

    def __hash__(self) -> int:
        return hash(self._id)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return other._id == self._id

    # for pickling:
    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return (type(self), (int(self._id),))

    @property
    def id(self) -> ChannelID:
        """The number by which every interpreter finds the channel."""
        return self._id

    @property
    def _info(self) -> ChannelInfo:
        try:
            return ChannelInfo(*_registry.ask("describe_channel", int(self._id)))
        except LookupError:
            raise ChannelNotFoundError(f"channel {int(self._id)} not found") from None

    @property
    def is_closed(self) -> bool:
        """Whether this end can be used no more."""
        return self._info.closed

    def close(self) -> None:
        """Close the channel for everybody. What was sent is lost, unless it is the sending end that is closed."""
        self._check(_registry.ask("close_end", int(self._id), self._end))

    def release(self) -> None:
        """Use this end no more in this interpreter.

        The channel closes once every interpreter that has used the end has released it.
        """
        self._associate()
        self._check(_registry.ask("release", int(self._id), _here(), self._end))
        self._is_associated = False

    def _associate(self) -> Any:
        """What the channel is made of; this interpreter is now among those that use the end."""
        if not self._is_associated:
            self._check(_registry.ask("associate", int(self._id), _here(), self._end))
            self._is_associated = True
        return self._conduit

    def _check(self, trouble: str) -> None:
        if trouble == "unknown":
            raise ChannelNotFoundError(f"channel {int(self._id)} not found")
        if trouble:
            raise ChannelClosedError(f"channel {int(self._id)} is closed")

    def _refuse(self, error: AtollError) -> NoReturn:
        """Say in this module's words why an Atoll channel failed: it can only have been closed."""
        self._is_associated = False
        raise ChannelClosedError(f"channel {int(self._id)} is closed") from error


class RecvChannel(_ChannelEnd):
    """The receiving end of a cross-interpreter channel."""

    __slots__ = ()

    _end = "recv"

    def recv(self, timeout: float | None = None) -> Any:
        """Return the next object from the channel.

        This blocks until an object has been sent, if none have been
        sent already.
        """
        if timeout is not None and timeout < 0:
            raise ValueError("timeout value must be non-negative")
        return self._receive(timeout)

    def recv_nowait(self, default: Any = _NOT_SET) -> Any:
        """Return the next object from the channel.

        If none have been sent then return the default if one
        is provided or fail with ChannelEmptyError.  Otherwise this
        is the same as recv().
        """
        try:
            return self._receive(0)
        except TimeoutError:
            if default is not _NOT_SET:
                return default
            raise ChannelEmptyError(f"channel {int(self._id)} is empty") from None

    def _receive(self, timeout: float | None) -> Any:
        items, ghosts, _, _ = self._associate()
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                item = items.recv(timeout)
            except ChannelEmpty:
                raise TimeoutError from None
            except AtollError as error:
                self._refuse(error)
            form, payload, flag, source, claim, receipt = item
            if claim is not None and not _is_ours(claim):
                pass  # its sender has given up
            elif flag == REMOVE and source != _exit.MAIN_HOST:
                if _registry.ask("taken", int(self._id), source):
                    return self._open(form, payload, receipt)
                ghosts.recv_nowait()
            elif source != _exit.MAIN_HOST and _registry.is_dead(source):
                self._open(_crossing.PLAIN, None, receipt)
                if flag == ERROR:
                    raise ItemInterpreterDestroyed("item's original interpreter destroyed")
                return UNBOUND
            else:
                return self._open(form, payload, receipt)
            if end is not None:
                timeout = max(0.0, end - time.monotonic())

    def _open(self, form: int, payload: Any, receipt: Any) -> Any:
        value = _crossing.decode((form, payload))
        if receipt is not None:
            receipt.send_nowait(True)
        items = self._conduit[0]
        if not len(items) and items.stats().closed:
            _registry.tell("drained", int(self._id))
        return value


class SendChannel(_ChannelEnd):
    """The sending end of a cross-interpreter channel."""

    __slots__ = ()

    _end = "send"

    @property
    def unbounditems(self) -> Any:
        """What becomes of items of destroyed interpreters unless send() said otherwise."""
        return _crossinterp.to_constant(self._associate()[3], UNBOUND)

    @property
    def is_closed(self) -> bool:
        """Whether this end can be used no more."""
        info = self._info
        return info.closed or info.closing

    def send(self, obj: Any, timeout: float | None = None, *, unbounditems: Any = None) -> None:
        """Send the object (i.e. its data) to the channel's receiving end.

        This blocks until the object is received.
        """
        self._send_and_wait(_crossing.encode(obj), obj, timeout, unbounditems)

    def send_nowait(self, obj: Any, *, unbounditems: Any = None) -> None:
        """Send the object to the channel's receiving end, and do not wait until it is received."""
        self._put(_crossing.encode(obj), obj, unbounditems, None, None)

    def send_buffer(self, obj: Any, timeout: float | None = None, *, unbounditems: Any = None) -> None:
        """Send the object's buffer to the channel's receiving end, which gets a memoryview of the same memory.

        This blocks until the object is received.
        """
        self._send_and_wait(_crossing.encode_buffer(obj), obj, timeout, unbounditems)

    def send_buffer_nowait(self, obj: Any, *, unbounditems: Any = None) -> None:
        """Send the object's buffer to the channel's receiving end, and do not wait until it is received."""
        self._put(_crossing.encode_buffer(obj), obj, unbounditems, None, None)

    def _send_and_wait(self, item: _crossing.Item, obj: Any, timeout: float | None, unbounditems: Any) -> None:
        if timeout is not None and timeout < 0:
            raise ValueError("timeout value must be non-negative")
        claim: _native.Channel[None] = _native.Channel(1)
        receipt: _native.Channel[bool] = _native.Channel(1)
        claim.send_nowait(None)
        received, sender = receipt.receiver, receipt.sender
        del receipt
        self._put(item, obj, unbounditems, claim, sender)
        del sender  # only the item has it now, so that this wait ends if the item is dropped
        try:
            with received:
                received.recv(timeout)
        except AtollError as error:
            self._refuse(error)  # the channel was closed, and the item with it
        except BaseException:
            if _is_ours(claim):
                raise  # nobody will ever receive it
            # Somebody has it: then it counts as received, and only an interruption is worth telling.
            import sys

            if not isinstance(sys.exception(), TimeoutError):
                raise

    def _put(self, item: _crossing.Item, obj: Any, unbounditems: Any, claim: Any, receipt: Any) -> None:
        items, _, _, default = self._associate()
        flag = default if unbounditems is None else _crossinterp.to_flag(unbounditems, UNBOUND)
        form, payload = item
        counted = flag == REMOVE and _here() != _exit.MAIN_HOST
        if counted:
            _registry.ask("expect", int(self._id), _here())
        try:
            try:
                items.send_nowait((form, payload, flag, _here(), claim, receipt))
            except CloneError:
                form, payload = _crossing.encode(obj, plainly=False)
                items.send_nowait((form, payload, flag, _here(), claim, receipt))
        except BaseException as error:
            if counted:
                _registry.ask("taken", int(self._id), _here())
            if isinstance(error, AtollError):
                self._refuse(error)
            raise


def _is_ours(claim: _native.Channel[None]) -> bool:
    """Whether an item is the caller's: its sender that gives up and its receiver race for one token."""
    try:
        claim.recv_nowait()
    except AtollError:
        return False
    return True


def _reduce(end: _ChannelEnd) -> Any:
    """What Atoll's own tasks and channels need to carry an end to a host that never heard of the channel."""
    return type(end), int(end._id), end._conduit, _registry.connection()


def _rebuild(parts: Any) -> _ChannelEnd:
    end_type, number, description, connection = parts
    _registry.connect(*connection)
    end: _ChannelEnd = end_type._of(number, description)
    return end


register(RecvChannel, _reduce, _rebuild)  # type: ignore[arg-type]
register(SendChannel, _reduce, _rebuild)  # type: ignore[arg-type]

for _form, _end_type in ((_crossing.RECV_CHANNEL, RecvChannel), (_crossing.SEND_CHANNEL, SendChannel)):
    _crossing.encoders[_end_type] = lambda end, form=_form: (form, (int(end._id), end._conduit))  # type: ignore[misc]
    _crossing.decoders[_form] = lambda payload, end_type=_end_type: end_type._of(*payload)  # type: ignore[misc]

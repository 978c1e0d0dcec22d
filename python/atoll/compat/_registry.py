"""One book for the whole process: which queues, channels and interpreters of this package there are, by number.

It is kept by the interpreter that imported this package first, usually the main one; interpreters that `create` makes
are told where it is before anything else runs in them. Whoever keeps the book writes into it directly; the others send
their requests over a channel to a thread that sleeps until one comes. No message of a queue goes this way.

# Invariants

- R1 An item names the host that put it. Hosts in `dead` are gone for good, and `len(deaths)` says how many there are:
  a reader whose count differs asks for the set again.
- R2 `removable[queue, host]` counts the items with UNBOUND_REMOVE that a living host has in a queue; when it dies they
  become ghosts, one token each in the queue's channel of ghosts, until a receiver meets and skips them.
- R3 An interpreter lives as long as somebody other than itself holds it: `holders` counts by the host that does.
"""

from __future__ import annotations

import threading
from _interpreters import InterpreterError, InterpreterNotFoundError
from dataclasses import dataclass, field
from typing import Any

from .. import _exit, _native, _shipping
from .._errors import AtollError

HOST_NAME = "compat"
"""What hosts are called that `create` made."""

LEAVING = 1.0
"""Seconds that code has to end after its caller was interrupted."""

type _Mailbox = _native.Channel[Any]


@dataclass(slots=True)
class Conduit:
    """What a queue or a channel is made of."""

    items: _native.Channel[Any]
    ghosts: _native.Channel[None]
    maxsize: int
    unbound: int
    holders: dict[int, int] = field(default_factory=dict)
    """How many objects of which host stand for it; without any it goes."""
    associates: dict[tuple[int, str], bool] = field(default_factory=dict)
    """Of a channel: which host has used which end, and whether it still may (False: it has released it)."""
    closing: bool = False
    """Of a channel: no more sends; it closes with its last item."""

    def description(self) -> tuple[_native.Channel[Any], _native.Channel[None], int, int]:
        """All that another interpreter needs to use it."""
        return self.items, self.ghosts, self.maxsize, self.unbound


class Book:
    """The state, and what may be done to it. Every method can be asked for from afar, so all that they take and
    return crosses between interpreters."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.queues: dict[int, Conduit] = {}
        self.channels: dict[int, Conduit] = {}
        self.closed: set[int] = set()
        """Channels that were closed; their numbers do not come again."""
        self.holders: dict[int, dict[int, int]] = {}
        self.removable: dict[tuple[int, int], int] = {}
        self.ending: set[int] = set()
        self.dead: set[int] = set()
        self.deaths: _native.Channel[None] = _native.Channel(None)

    # Queues and channels

    def open(self, kind: str, maxsize: int, unbound: int) -> tuple[int, Any]:
        items: _native.Channel[Any] = _native.Channel(maxsize if maxsize > 0 else None)
        conduit = Conduit(items, _native.Channel(None), maxsize, unbound)
        self._shelf(kind)[items.id] = conduit
        return items.id, conduit.description()

    def find(self, kind: str, number: int) -> Any:
        conduit = self._shelf(kind).get(number)
        return None if conduit is None else conduit.description()

    def hold(self, kind: str, holder: int, number: int, description: Any) -> Any:
        """Somebody at *holder* has an object for it; one that arrived in a message may be the only one left.

        Returns the description, None if it is not there and none is given.
        """
        shelf = self._shelf(kind)
        conduit = shelf.get(number)
        if conduit is None:
            if description is None or number in self.closed:
                return None
            shelf[number] = conduit = Conduit(*description)
        conduit.holders[holder] = conduit.holders.get(holder, 0) + 1
        return conduit.description()

    def let_go(self, kind: str, holder: int, number: int) -> None:
        conduit = self._shelf(kind).get(number)
        if conduit is not None:
            _take_one(conduit.holders, holder)
            if not conduit.holders:
                del self._shelf(kind)[number]

    def numbers(self, kind: str) -> list[tuple[int, int]]:
        return [(number, conduit.unbound) for number, conduit in sorted(self._shelf(kind).items())]

    def destroy(self, kind: str, number: int) -> bool:
        conduit = self._shelf(kind).pop(number, None)
        if conduit is None:
            return False
        conduit.items.poison("destroyed")
        if kind == "channel":
            self.closed.add(number)
        return True

    # Channels only

    def associate(self, number: int, holder: int, end: str) -> str:
        """Note that *holder* uses an end: "" if it may, else what is wrong."""
        conduit = self.channels.get(number)
        if conduit is None:
            return "closed" if number in self.closed else "unknown"
        if not conduit.associates.setdefault((holder, end), True):
            return "released"
        return "closed" if conduit.closing and end == "send" else ""

    def release(self, number: int, holder: int, end: str) -> str:
        """*holder* uses this end no more; once nobody uses it, the channel closes."""
        conduit = self.channels.get(number)
        if conduit is None:
            return "closed" if number in self.closed else "unknown"
        conduit.associates[holder, end] = False
        self._close_if_abandoned(number, conduit, end)
        return ""

    def close_end(self, number: int, end: str) -> str:
        """Close a channel for all; from the sending end what was sent can still be received."""
        conduit = self.channels.get(number)
        if conduit is None:
            return "closed" if number in self.closed else "unknown"
        if end == "send" and len(conduit.items) > len(conduit.ghosts):
            conduit.closing = True
            conduit.items.close()
        else:
            self.destroy("channel", number)
        return ""

    def drained(self, number: int) -> None:
        """The last item of a channel that was closing is out."""
        conduit = self.channels.get(number)
        if conduit is not None and conduit.closing and not len(conduit.items):
            self.destroy("channel", number)

    def describe_channel(self, number: int) -> tuple[bool, bool, int]:
        """(closing, closed, items); LookupError if it never was."""
        conduit = self.channels.get(number)
        if conduit is None:
            if number not in self.closed:
                raise LookupError(number)
            return False, True, 0
        return conduit.closing, False, max(0, len(conduit.items) - len(conduit.ghosts))

    def _close_if_abandoned(self, number: int, conduit: Conduit, end: str) -> None:
        states = [used for (_, name), used in conduit.associates.items() if name == end]
        if states and not any(states):
            self.close_end(number, end)

    # Items that go with their interpreter (R2)

    def expect(self, number: int, source: int) -> None:
        self.removable[number, source] = self.removable.get((number, source), 0) + 1

    def taken(self, number: int, source: int) -> bool:
        """An item with UNBOUND_REMOVE came out, or did not go in: whether its interpreter lives."""
        if source in self.dead:
            return False
        _take_one(self.removable, (number, source))
        return True

    def obituary(self) -> list[int]:
        return list(self.dead)

    # Interpreters (R3)

    def adopt(self, holder: int, host: int) -> None:
        """Count one more object for *host* at *holder*."""
        if host in self.dead or host in self.ending:
            raise InterpreterNotFoundError(f"unrecognized interpreter ID {host - 1}")
        counts = self.holders.setdefault(host, {})
        counts[holder] = counts.get(holder, 0) + 1

    def abandon(self, holder: int, host: int) -> None:
        """One object less; the interpreter that nobody holds ends."""
        with self.lock:
            counts = self.holders.get(host)
            if counts is None or holder not in counts:
                return
            _take_one(counts, holder)
            if counts:
                return
        try:
            self.end(host)
        except InterpreterError:
            pass  # it runs: whoever runs code in it holds it, too, or closes it

    def end(self, host: int) -> None:
        """Close *host* and settle what it leaves behind. Waits for its threads, so the book stays open meanwhile."""
        with self.lock:
            if host in self.dead or host not in self.holders:
                raise InterpreterNotFoundError(f"unrecognized interpreter ID {host - 1}")
            if _native.host_running(host):
                raise InterpreterError("interpreter running")
            holders = self.holders.pop(host)
            self.ending.add(host)
        try:
            run_in(host, "leave")
            _native.close_host(host, None)
        except BaseException:
            with self.lock:
                self.holders[host] = holders
                self.ending.discard(host)
            raise
        with self.lock:
            orphans = self._settle(host)
        for orphan in orphans:
            try:
                self.end(orphan)
            except InterpreterError:
                pass  # it runs, so somebody uses it

    def _settle(self, host: int) -> list[int]:
        """Take a dead host out of the book; the interpreters that nobody holds any more."""
        self.dead.add(host)
        self.ending.discard(host)
        for key in [key for key in self.removable if key[1] == host]:
            count = self.removable.pop(key)
            conduit = self.queues.get(key[0]) or self.channels.get(key[0])
            if conduit is not None:
                for _ in range(count):
                    conduit.ghosts.send_nowait(None)
        self.deaths.send_nowait(None)
        for shelf in (self.queues, self.channels):
            for number, conduit in list(shelf.items()):
                if conduit.holders.pop(host, None) is not None and not conduit.holders:
                    shelf.pop(number, None)
        for conduit in list(self.channels.values()):
            for end in ("send", "recv"):
                if conduit.associates.get((host, end)):
                    conduit.associates[host, end] = False
        orphans = []
        for other, counts in self.holders.items():
            if counts.pop(host, None) is not None and not counts:
                orphans.append(other)
        return orphans

    def _shelf(self, kind: str) -> dict[int, Conduit]:
        return self.queues if kind == "queue" else self.channels


def _take_one[K](counts: dict[K, int], key: K) -> None:
    left = counts.get(key, 0) - 1
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)


def run_in(host: int, what: str, *args: Any) -> Any:
    """Run a function of `_inside` in another interpreter and wait for it; Ctrl-C cancels it."""
    from ..tasks import Task, wait_or_cancel

    target = (f"{__package__}._inside", what, *_shipping.new_path())
    task = Task[Any]._of(_native.submit(host, "interpreter", ("name", target, (), args, {}), None, None))
    try:
        return wait_or_cancel(task)
    except BaseException:
        task.join(LEAVING)  # whoever was interrupted finds the interpreter idle, not still on its way out
        raise


# Asking --------------------------------------------------------------------------------------------------------------

_REFUSALS = {
    "InterpreterError": InterpreterError,
    "InterpreterNotFoundError": InterpreterNotFoundError,
    "LookupError": LookupError,
}

_book: Book | None = None
_requests: _Mailbox | None = None
"""The mailbox of the thread that answers those who do not keep the book."""
_deaths: _native.Channel[None] | None = None
_seen_deaths = 0
_dead: frozenset[int] = frozenset()
_setup = threading.Lock()

here = _native.current_host
"""The host that this interpreter is: an isolate is one after the other."""


def ask(what: str, *args: Any) -> Any:
    """Do something to the book, here or where it is kept. Blocks for as long as it takes; raises its refusal."""
    if _requests is not None and _book is None:
        answers: _Mailbox = _native.Channel(1)
        try:
            _requests.send((what, args, answers))
            how, value = answers.recv()
        except AtollError as error:
            raise InterpreterError(f"the interpreter that keeps the book is gone ({error})") from error
        if how:
            raise _REFUSALS[how](value)
        return value
    return _do(_own_book(), what, args)


def tell(what: str, *args: Any) -> None:
    """The same without waiting for an answer, for finalizers. Never raises."""
    try:
        if _requests is not None and _book is None:
            _requests.send_nowait((what, args, None))
        else:
            ask(what, *args)
    except Exception:
        pass  # there is nobody left to tell, or too little left of this interpreter to tell it with


def is_dead(host: int) -> bool:
    """Whether an interpreter of this package was closed."""
    global _seen_deaths, _dead
    deaths = _deaths if _deaths is not None else _own_book().deaths
    number = len(deaths)
    if number != _seen_deaths:
        _dead = frozenset(ask("obituary"))
        _seen_deaths = number
    return host in _dead


def connection() -> tuple[_Mailbox, _native.Channel[None]]:
    """What another interpreter needs to `connect`."""
    global _requests
    if _book is None and _requests is not None:
        assert _deaths is not None
        return _requests, _deaths
    book = _own_book()
    with _setup:
        if _requests is None:
            _requests = _native.Channel(None)
            clerk = threading.Thread(
                target=_serve, args=(book, _requests), name="atoll-compat", daemon=here() == _exit.MAIN_HOST
            )
            clerk.start()
    return _requests, book.deaths


def connect(requests: _Mailbox, deaths: _native.Channel[None]) -> None:
    """Use the book of another interpreter; the first thing that happens in one that `create` made."""
    global _requests, _deaths
    if _book is None:
        _requests, _deaths = requests, deaths


def _own_book() -> Book:
    global _book
    if _book is None:
        with _setup:
            if _book is None:
                _book = Book()
    return _book


_SLOW = frozenset({"end", "abandon"})
"""What waits for other threads, which may have questions themselves."""


def _do(book: Book, what: str, args: tuple[Any, ...]) -> Any:
    if what in _SLOW:
        return getattr(book, what)(*args)
    with book.lock:
        return getattr(book, what)(*args)


def _serve(book: Book, requests: _Mailbox) -> None:
    """Answer the interpreters that keep no book; sleeps in `recv`."""
    while True:
        try:
            what, args, answers = requests.recv()
        except AtollError:
            return  # this interpreter is about to end
        if what in _SLOW:
            threading.Thread(target=_answer, args=(book, what, args, answers), name="atoll-compat-close").start()
        else:
            _answer(book, what, args, answers)
        del answers, args


def _answer(book: Book, what: str, args: tuple[Any, ...], answers: _Mailbox | None) -> None:
    try:
        answer = ("", _do(book, what, args))
    except Exception as refusal:
        name = type(refusal).__name__
        answer = (name if name in _REFUSALS else "InterpreterError", str(refusal))
    if answers is not None:
        try:
            answers.send_nowait(answer)
        except AtollError:
            pass  # whoever asked is gone

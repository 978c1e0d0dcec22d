"""The calls of a pool that no worker has taken yet.

They stand in a channel, from which every worker takes the oldest. Nothing can be taken out of the middle of a
channel: to take one call back, all are taken out and the others put in again. That would cost too much where many wait
and many are cancelled, so from the first time on only some are in the channel, and the others behind it, where each can
be found.

# Invariants

- Q1 A call is in the channel, behind it, or about to be put back by who holds the lock; else it has been taken.
- Q2 The channel is closed when nothing waits any more: a closed one would not take back what was only looked at.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from .. import _native
from .._errors import ChannelClosed, ChannelEmpty
from .worker import number_of_lost, unreadable

_FED = 64
"""So many are in the channel when others are behind it."""

type Call = tuple[int, Any, Any, Any, Any]


class Queue:
    """What waits for any of the workers."""

    def __init__(self) -> None:
        self.channel: _native.Channel[Call] = _native.Channel(None)
        self.behind: dict[int, deque[Call]] = {}
        """By the numbers of the calls; the parts of a `map` have one number."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.channel) + sum(map(len, list(self.behind.values())))

    def put(self, call: Call) -> None:
        """Raises CloneError if the call cannot leave this interpreter, ChannelClosed after the end."""
        if not self.behind:
            self.channel.send_nowait(call)
            return
        with self._lock:
            _native.clone(call)  # refused here, not when its turn comes
            self.behind.setdefault(call[0], deque()).append(call)
            self._feed()

    def take_back(self, numbers: set[int] | None) -> list[Call]:
        """Take these calls (None: all) out, so that they never run."""
        with self._lock:
            found, kept = drain(self.channel, numbers)
            for number in list(self.behind) if numbers is None else numbers & self.behind.keys():
                found += self.behind.pop(number)
            if len(kept) > _FED:
                # They stand before those that are behind already.
                later, self.behind = self.behind, {}
                for call in kept[_FED:]:
                    self.behind.setdefault(call[0], deque()).append(call)
                for number, calls in later.items():
                    self.behind.setdefault(number, deque()).extend(calls)
                del kept[_FED:]
            for call in kept:
                self.channel.send_nowait(call)
            self._feed()
        return found

    def feed(self) -> None:
        """Let those that are behind move up."""
        with self._lock:
            self._feed()

    def _feed(self) -> None:
        while self.behind and len(self.channel) < _FED:
            number, calls = next(iter(self.behind.items()))
            self.channel.send_nowait(calls.popleft())
            if not calls:
                del self.behind[number]

    def close_if_empty(self) -> bool:
        """Send the workers home, if nothing waits for them; whether it is so."""
        with self._lock:
            if len(self):
                return False
            self.channel.close()
            return True

    def close(self) -> None:
        """Take no more calls."""
        self.channel.close()


def drain(channel: _native.Channel[Any], numbers: set[int] | None) -> tuple[list[Call], list[Any]]:
    """Empty the channel: these calls (None: all), and what else was in it."""
    found: list[Call] = []
    kept: list[Any] = []
    while len(channel):
        try:
            call = channel.recv_nowait()
        except BaseException as error:
            lost = number_of_lost(error)
            if lost is not None:
                call = unreadable(*lost, error)
            elif isinstance(error, (ChannelEmpty, ChannelClosed)):
                break
            else:
                raise
        (found if call is not None and (numbers is None or call[0] in numbers) else kept).append(call)
    return found, kept

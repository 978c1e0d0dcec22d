"""No verb keeps memory: neither when it succeeds nor when it raises."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Callable

import pytest

import atoll
from atoll import Channel

ROUNDS = 2000
UNCLONEABLE = threading.Lock()
LARGE = "a text that does not fit into a slot of the ring"


def _refused(verb: Callable[[], object]) -> Callable[[], None]:
    def call() -> None:
        with contextlib.suppress(atoll.AtollError, TimeoutError, TypeError, ValueError):
            verb()

    return call


def _use(channel: Channel[object]) -> dict[str, Callable[[], object]]:
    closed, poisoned, full = Channel[object](), Channel[object](), Channel[object](capacity=1)
    closed.close()
    poisoned.poison({"reason": [LARGE]})
    full.send(LARGE)
    ends = (channel.sender, channel.receiver)
    return {
        "send and recv": lambda: (channel.send(LARGE), channel.recv()),
        "nowait verbs": lambda: (channel.send_nowait([LARGE]), channel.recv_nowait()),
        "verbs with a timeout": lambda: (channel.send(1.5, timeout=1), channel.recv(timeout=1)),
        "batches": lambda: (channel.send_many([LARGE, 2]), channel.send_many(iter([3])), channel.recv_many(9)),
        "iteration": lambda: (channel.send(1), next(channel)),
        "ends": lambda: (channel.sender, channel.receiver),
        "ends in messages": lambda: (channel.send([channel.sender, channel]), channel.recv()),
        "given up ends": lambda: (channel.sender.close(), channel.receiver.close()),
        "new channels": lambda: Channel(capacity=2).send([LARGE]),
        "stats and repr": lambda: (channel.stats(), repr(channel), len(channel), channel == ends[0], hash(channel)),
        "select": lambda: (
            atoll.select(channel.sending(LARGE), atoll.after(1)),
            atoll.select(channel, full.sending(LARGE), timeout=1),
            atoll.select(channel, default=None),
        ),
        "subscription": lambda: Channel[int],
        "recv refused": _refused(lambda: channel.recv(timeout=0)),
        "recv timed out": _refused(lambda: channel.recv(timeout=1e-9)),
        "recv_many refused": _refused(lambda: channel.recv_many(3, timeout=0)),
        "send refused": _refused(lambda: full.send(LARGE, timeout=0)),
        "send timed out": _refused(lambda: full.send([channel.sender], timeout=1e-9)),
        "send_many refused": _refused(lambda: full.send_many([LARGE, LARGE], timeout=0)),
        "send_many uncloneable": _refused(lambda: full.send_many([UNCLONEABLE], timeout=0)),
        "closed": _refused(lambda: closed.send(LARGE)),
        "poisoned": _refused(lambda: poisoned.recv()),
        "poisoned anew": _refused(lambda: poisoned.poison([LARGE])),
        "uncloneable": _refused(lambda: channel.send({"a": [LARGE, channel.sender, UNCLONEABLE]})),
        "select refused": _refused(lambda: atoll.select(closed, poisoned)),
        "select of no case": _refused(lambda: atoll.select(1)),
        "wrong arguments": _refused(lambda: channel.send(1, timout=2)),
        "wrong capacity": _refused(lambda: Channel(-1)),
        "wrong timeout": _refused(lambda: channel.recv("x")),
        "unmakeable": _refused(atoll.Sender),
    }


@pytest.mark.parametrize("use", _use(Channel()).keys())
def test_memory_stays_where_it_is(use: str) -> None:
    channel = Channel[object](capacity=8)
    call = _use(channel)[use]

    def blocks_after_rounds() -> int:
        for _ in range(ROUNDS):
            call()
        gc.collect()
        return sys.getallocatedblocks()

    ends = channel.stats()[6:8]
    blocks_after_rounds()
    before = blocks_after_rounds()
    growth = min(blocks_after_rounds() - before for _ in range(3))
    assert growth < ROUNDS / 10, f"{growth / ROUNDS:.2f} blocks a call"
    assert channel.stats()[6:8] == ends, "senders or receivers"

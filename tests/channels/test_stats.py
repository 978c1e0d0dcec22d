"""The counters of a channel."""

from __future__ import annotations

import pickle

import pytest

import atoll
from atoll import Channel


def test_a_new_channel_has_counted_nothing() -> None:
    assert Channel[int](capacity=5).stats() == (0, 0, 0, 0, 0, 0, 1, 1, False, False, 5)


def test_messages_are_counted_by_every_verb() -> None:
    channel = Channel[int](capacity=None)
    channel.send(1)
    channel.send_nowait(2)
    channel.send_many([3, 4, 5])
    atoll.select(channel.sending(6))
    stats = channel.stats()
    assert (stats.sent, stats.received, stats.depth) == (6, 0, 6)
    channel.recv()
    channel.recv_nowait()
    channel.recv_many(2)
    atoll.select(channel)
    next(channel)
    stats = channel.stats()
    assert (stats.sent, stats.received, stats.depth) == (6, 6, 0)


def test_the_high_water_mark_stays() -> None:
    channel = Channel[int](capacity=8)
    channel.send_many([1, 2, 3, 4, 5])
    channel.recv_many(5)
    channel.send(1)
    assert channel.stats().high_water in (4, 5)


def test_blocked_threads_are_counted_while_they_wait(start, wait_for_blocked) -> None:
    channel = Channel[int](capacity=0)
    receiving = [start(channel.recv) for _ in range(2)]
    wait_for_blocked(channel, receivers=2)
    assert channel.stats().blocked_receivers == 2
    channel.send_many([1, 2])
    for background in receiving:
        background.result()
    assert channel.stats().blocked_receivers == 0


def test_closed_and_poisoned_are_told_apart() -> None:
    closed, poisoned = Channel[int](), Channel[int]()
    closed.close()
    poisoned.poison()
    assert (closed.stats().closed, closed.stats().poisoned) == (True, False)
    assert poisoned.stats().poisoned


@pytest.mark.parametrize("capacity", [0, 3, None])
def test_the_capacity_is_among_them(capacity: int | None) -> None:
    assert Channel(capacity).stats().capacity == capacity


def test_stats_are_a_frozen_named_tuple_that_pickles() -> None:
    stats = Channel[int]().stats()
    assert isinstance(stats, atoll.ChannelStats)
    assert repr(stats).startswith("atoll.ChannelStats(sent=0,")
    with pytest.raises(AttributeError):
        stats.sent = 1
    assert pickle.loads(pickle.dumps(stats)) == stats

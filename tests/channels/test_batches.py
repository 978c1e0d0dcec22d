"""Many messages per call."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import atoll
from atoll import Channel, ChannelClosed, ChannelPoisoned


@pytest.mark.parametrize("kind", [list, tuple, iter, set, range, dict.fromkeys])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_send_many_sends_every_item_in_order(kind, count: int) -> None:
    channel = Channel[int](capacity=None)
    items = range(count) if kind is range else kind(range(count))
    assert channel.send_many(items) == count
    assert [channel.recv_nowait() for _ in range(count)] == list(range(count))


def test_send_many_waits_for_room_as_often_as_it_must(start) -> None:
    channel = Channel[int](capacity=3)
    sending = start(lambda: channel.send_many(list(range(500))))
    channel_items: list[int] = []
    while len(channel_items) < 500:
        channel_items += channel.recv_many(7)
    assert sending.result() == 500
    assert channel_items == list(range(500))


def test_send_many_on_a_rendezvous_hands_over_one_by_one(start) -> None:
    channel = Channel[int](capacity=0)
    sending = start(lambda: channel.send_many([1, 2, 3]))
    assert [channel.recv(), channel.recv(), channel.recv()] == [1, 2, 3]
    assert sending.result() == 3


def test_what_an_iterator_has_produced_is_not_held_back(start) -> None:
    channel = Channel[int](capacity=8)
    gate = Channel[None](capacity=0)

    def slow() -> Iterator[int]:
        yield 1
        gate.recv()
        yield 2

    sending = start(lambda: channel.send_many(slow()))
    assert channel.recv(timeout=30) == 1
    gate.send(None)
    assert channel.recv(timeout=30) == 2
    assert sending.result() == 2


def test_send_many_counts_what_it_sent_before_the_channel_closed(start, wait_for_blocked) -> None:
    channel = Channel[int](capacity=4)
    sending = start(lambda: channel.send_many(list(range(100))))
    wait_for_blocked(channel, senders=1)
    channel.close()
    with pytest.raises(ChannelClosed) as caught:
        sending.result()
    assert caught.value.sent == 4
    assert list(channel) == [0, 1, 2, 3]


def test_send_many_counts_what_it_sent_before_the_time_was_up() -> None:
    channel = Channel[int](capacity=4)
    for timeout in (0, 0.01):
        with pytest.raises(TimeoutError) as caught:
            channel.send_many(list(range(100)), timeout=timeout)
        assert caught.value.sent == 4
        assert channel.recv_many(10) == [0, 1, 2, 3]


def test_send_many_counts_what_it_sent_before_the_poison(start, wait_for_blocked) -> None:
    channel = Channel[int](capacity=4)
    sending = start(lambda: channel.send_many(iter(range(100))))
    wait_for_blocked(channel, senders=1)
    channel.poison("enough")
    with pytest.raises(ChannelPoisoned, match="enough") as caught:
        sending.result()
    assert caught.value.sent == 4


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_an_uncloneable_item_is_named_by_its_index_after_those_before_it_went(kind) -> None:
    channel = Channel[object](capacity=None)
    with pytest.raises(atoll.CloneError) as caught:
        channel.send_many(kind([1, 2, [3, threading.Lock()], 4]))
    assert caught.value.path == "items[2][1]"
    assert caught.value.sent == 2
    assert channel.recv_many(10) == [1, 2]


def test_an_error_of_the_iterator_is_raised_after_its_items_went() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    channel = Channel[int]()
    with pytest.raises(ZeroDivisionError):
        channel.send_many(failing())
    assert channel.recv_many(10) == [1]


def test_send_many_of_no_iterable_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        Channel[int]().send_many(3)


def test_a_list_that_shrinks_while_it_is_sent_ends_early(start, wait_for_blocked) -> None:
    channel = Channel[int](capacity=64)
    items = list(range(1000))
    sending = start(lambda: channel.send_many(items))
    wait_for_blocked(channel, senders=1)
    items.clear()
    received: list[int] = []
    while sending.thread.is_alive():
        try:
            received += channel.recv_many(1000, timeout=0.01)
        except TimeoutError:
            continue
    sent = sending.result()
    received += channel.recv_many(1000, timeout=0) if len(channel) else []
    assert received == list(range(sent))
    assert 64 <= sent < 1000


def test_recv_many_takes_what_is_there_up_to_max() -> None:
    channel = Channel[int](capacity=None)
    channel.send_many(range(10))
    assert channel.recv_many(4) == [0, 1, 2, 3]
    assert channel.recv_many(100) == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("maximum", [1, 2000, 5000, 10**30])
def test_recv_many_knows_no_other_limit_than_max(maximum: int) -> None:
    channel = Channel[int](capacity=None)
    channel.send_many(range(3000))
    assert channel.recv_many(maximum) == list(range(min(maximum, 3000)))


def test_recv_many_waits_for_the_first_message_only(start, wait_for_blocked) -> None:
    channel = Channel[int]()
    receiving = start(lambda: channel.recv_many(10))
    wait_for_blocked(channel, receivers=1)
    channel.send(1)
    assert receiving.result() == [1]


@pytest.mark.parametrize("maximum", [0, -1, -(10**30)])
def test_recv_many_of_nothing_is_a_value_error(maximum: int) -> None:
    with pytest.raises(ValueError, match="cannot receive max="):
        Channel[int]().recv_many(maximum)


@pytest.mark.parametrize("maximum", [True, None, "3", 2.0])
def test_recv_many_of_no_count_is_a_type_error(maximum: object) -> None:
    with pytest.raises(TypeError, match="cannot receive max="):
        Channel[int]().recv_many(maximum)


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_recv_many_that_finds_nothing_in_time_raises_timeout_error(timeout: float) -> None:
    with pytest.raises(TimeoutError):
        Channel[int]().recv_many(3, timeout=timeout)


def test_recv_many_drains_a_closed_channel_then_raises() -> None:
    channel = Channel[int]()
    channel.send_many([1, 2, 3])
    channel.close()
    assert channel.recv_many(10) == [1, 2, 3]
    with pytest.raises(ChannelClosed):
        channel.recv_many(10)

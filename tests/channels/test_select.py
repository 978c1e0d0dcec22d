"""Waiting for the first of several operations."""

from __future__ import annotations

import threading
import time

import pytest

import atoll
from atoll import Channel, ChannelClosed, ChannelPoisoned, after, select


def test_select_takes_the_one_that_is_ready() -> None:
    first, second = Channel[int](), Channel[int]()
    second.send(2)
    assert select(first, second) == (second, 2)
    assert select(first, second.receiver, default=None) == (None, None)


def test_the_case_returned_is_the_object_given() -> None:
    channel = Channel[int]()
    receiver = channel.receiver
    channel.send(1)
    case, value = select(receiver)
    assert case is receiver
    assert value == 1


def test_select_sends_when_there_is_room() -> None:
    full, free = Channel[int](capacity=1), Channel[int](capacity=1)
    full.send(0)
    sending = free.sender.sending(7)
    case, value = select(full.sending(1), sending)
    assert case is sending
    assert value is None
    assert free.recv() == 7
    assert full.recv_many(10) == [0]


def test_a_send_case_can_be_used_again_and_tells_what_it_is() -> None:
    channel = Channel[list[int]]()
    message = [1]
    case = channel.sending(message)
    assert case.sender is channel
    assert case.value is message
    select(case)
    message.append(2)
    select(case)
    assert channel.recv_many(2) == [[1], [1, 2]]
    assert "SendCase [1, 2] to <atoll.Channel" in repr(case)


def test_select_waits_for_a_message(start) -> None:
    first, second = Channel[int](), Channel[int]()
    selecting = start(lambda: select(first, second))
    second.send(2)
    assert selecting.result() == (second, 2)


def test_select_waits_for_room(start, wait_for_blocked) -> None:
    channel = Channel[int](capacity=1)
    channel.send(0)
    case = channel.sending(1)
    selecting = start(lambda: select(case))
    wait_for_blocked(channel, senders=1)
    assert channel.recv() == 0
    assert selecting.result() == (case, None)
    assert channel.recv() == 1


def test_select_meets_select_on_a_rendezvous(start) -> None:
    channel = Channel[int](capacity=0)
    other = Channel[int](capacity=0)
    sending = start(lambda: select(channel.sending(1), other))
    assert select(channel, other) == (channel, 1)
    sending.result()


def test_exactly_one_case_takes_effect() -> None:
    channels = [Channel[int]() for _ in range(5)]
    for number, channel in enumerate(channels):
        channel.send(number)
    select(*channels)
    assert sum(len(channel) for channel in channels) == 4


def test_ready_cases_are_chosen_fairly() -> None:
    channels = [Channel[int](capacity=None) for _ in range(4)]
    for channel in channels:
        channel.send_many(range(2000))
    chosen = dict.fromkeys(channels, 0)
    for _ in range(2000):
        chosen[select(*channels)[0]] += 1
    assert min(chosen.values()) > 300, chosen


def test_a_timer_that_is_due_is_not_starved_by_busy_channels() -> None:
    busy = [Channel[int](capacity=None) for _ in range(3)]
    for channel in busy:
        channel.send_many(range(2000))
    timer = after(0)
    chosen = [select(*busy, timer)[0] for _ in range(1000)]
    assert 100 < chosen.count(timer) < 500


def test_the_same_channel_may_be_given_twice() -> None:
    channel = Channel[int]()
    channel.send(1)
    assert select(channel, channel) == (channel, 1)
    assert select(channel, channel, default=0) == (None, 0)


def test_the_same_channel_given_twice_wakes_once(start, wait_for_blocked) -> None:
    channel = Channel[int](capacity=1)
    selecting = start(lambda: select(channel, channel.receiver, channel))
    wait_for_blocked(channel, receivers=1)
    channel.send(1)
    channel.send(2)
    assert selecting.result()[1] == 1
    assert channel.recv() == 2


def test_one_select_does_not_meet_itself_on_a_rendezvous() -> None:
    channel = Channel[int](capacity=0)
    assert select(channel, channel.sending(1), default="nobody") == (None, "nobody")
    with pytest.raises(TimeoutError):
        select(channel, channel.sending(1), timeout=0.05)


def test_both_sides_of_a_buffered_channel_in_one_select() -> None:
    channel = Channel[int](capacity=1)
    send = channel.sending(1)
    assert select(channel, send) == (send, None)
    assert select(channel, send) == (channel, 1)


def test_default_never_waits_and_is_returned_as_it_is() -> None:
    sentinel = object()
    assert select(Channel(), default=sentinel) == (None, sentinel)
    assert select(Channel(), default=None, timeout=100) == (None, None)


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_a_select_that_finds_nothing_in_time_raises_timeout_error(timeout: float) -> None:
    with pytest.raises(TimeoutError, match="cannot select a case"):
        select(Channel(), Channel(), timeout=timeout)


def test_a_timer_case_fires_once_its_time_has_come() -> None:
    timer = after(0.03)
    before = time.monotonic()
    assert select(Channel(), timer) == (timer, None)
    assert time.monotonic() - before < 5
    assert select(timer, default=1) in ((timer, None), (None, 1))
    assert timer.seconds == 0.03


def test_a_timers_clock_starts_when_it_is_made() -> None:
    timer = after(0.03)
    with pytest.raises(TimeoutError):
        select(Channel(), timeout=0.06)
    assert select(Channel(), timer, timeout=0) == (timer, None)


def test_the_earlier_of_two_timers_fires() -> None:
    late, early = after(1000), after(0.01)
    assert select(late, early) == (early, None)


def test_a_timeout_before_the_timer_wins() -> None:
    with pytest.raises(TimeoutError):
        select(after(1000), timeout=0.01)
    timer = after(0.01)
    assert select(timer, timeout=1000) == (timer, None)


def test_a_message_beats_a_timer_that_is_not_due() -> None:
    channel = Channel[int]()
    channel.send(1)
    assert select(channel, after(1000)) == (channel, 1)


@pytest.mark.parametrize("seconds", [-1, float("nan"), -(10**400)])
def test_a_timer_that_is_no_time_is_a_value_error(seconds: float) -> None:
    with pytest.raises(ValueError, match="cannot wait with seconds="):
        after(seconds)


@pytest.mark.parametrize("seconds", ["1", None, []])
def test_a_timer_that_is_no_number_is_a_type_error(seconds: object) -> None:
    with pytest.raises(TypeError, match="is no number of seconds"):
        after(seconds)


def test_select_of_nothing_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cannot select without cases"):
        select()
    with pytest.raises(ValueError, match="cannot select without cases"):
        select(default=1)


@pytest.mark.parametrize("case", [1, None, "x", Channel().sender, print])
def test_what_is_no_case_is_a_type_error(case: object) -> None:
    with pytest.raises(TypeError, match="is no case"):
        select(Channel(), case)


def test_select_refuses_unknown_options() -> None:
    with pytest.raises(TypeError, match="there is no parameter 'deadline'"):
        select(Channel(), deadline=1)


def test_a_closed_case_raises_with_the_case() -> None:
    open_channel, closed = Channel[int](), Channel[int]()
    closed.close()
    with pytest.raises(ChannelClosed) as caught:
        select(open_channel, closed)
    assert caught.value.case is closed


def test_a_closed_channel_is_drained_by_select_first() -> None:
    channel = Channel[int]()
    channel.send(1)
    channel.close()
    assert select(channel) == (channel, 1)
    with pytest.raises(ChannelClosed):
        select(channel)


def test_a_poisoned_send_case_raises_with_the_case_and_the_reason() -> None:
    channel = Channel[int](capacity=1)
    channel.poison("why")
    case = channel.sending(1)
    with pytest.raises(ChannelPoisoned) as caught:
        select(case)
    assert caught.value.case is case
    assert caught.value.reason == "why"


def test_closing_wakes_a_select(start, wait_for_blocked) -> None:
    channel = Channel[int]()
    selecting = start(lambda: select(channel, Channel()))
    wait_for_blocked(channel, receivers=1)
    channel.close()
    with pytest.raises(ChannelClosed):
        selecting.result()


def test_an_uncloneable_send_case_is_named_and_nothing_happens() -> None:
    first, second = Channel[object](), Channel[object]()
    with pytest.raises(atoll.CloneError) as caught:
        select(first.sending(1), second.sending([threading.Lock()]))
    assert caught.value.path == "cases[1].value[0]"
    assert len(first) == 0


def test_a_case_that_was_not_chosen_releases_the_ends_in_its_message() -> None:
    full, free, carried = Channel[object](capacity=1), Channel[object](), Channel[int]()
    full.send(0)
    free.send(1)
    assert select(full.sending(carried), free) == (free, 1)
    assert carried.stats().senders == 1


def test_many_selects_share_messages_without_loss(start) -> None:
    channels = [Channel[int](capacity=4) for _ in range(3)]

    def consume() -> list[int]:
        taken: list[int] = []
        try:
            while True:
                taken.append(select(*channels)[1])
        except ChannelClosed:
            return taken

    consumers = [start(consume) for _ in range(3)]
    producers = [
        start(lambda first=first: [select(*[c.sending(n) for c in channels]) for n in range(first, 900, 3)])
        for first in range(3)
    ]
    for producer in producers:
        producer.result()
    while any(len(channel) for channel in channels):
        time.sleep(0)
    for channel in channels:
        channel.close()
    taken = [message for consumer in consumers for message in consumer.result()]
    assert sorted(taken) == list(range(900))


def test_a_cycle_through_a_send_case_is_collected() -> None:
    import gc
    import weakref

    class Node:
        pass

    channel, node = Channel[object](), Node()
    node.case = channel.sending(node)
    reference = weakref.ref(node)
    del node
    gc.collect()
    assert reference() is None

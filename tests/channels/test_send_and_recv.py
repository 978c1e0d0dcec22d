"""One message in, one message out."""

from __future__ import annotations

import queue
import threading
import time

import pytest

import atoll
from atoll import Channel, ChannelEmpty, ChannelFull


def test_messages_arrive_in_the_order_they_were_sent() -> None:
    channel = Channel[int](capacity=3)
    for number in (1, 2, 3):
        channel.send(number)
    assert [channel.recv(), channel.recv(), channel.recv()] == [1, 2, 3]


def test_a_channel_without_a_capacity_given_holds_64() -> None:
    assert Channel().capacity == 64


@pytest.mark.parametrize("capacity", [0, 1, 7, None])
def test_capacity_is_what_the_channel_was_made_with(capacity: int | None) -> None:
    assert Channel(capacity=capacity).capacity == capacity
    assert Channel(capacity).capacity == capacity


@pytest.mark.parametrize("capacity", [-1, -(10**30), 1 << 40, 10**30])
def test_a_capacity_out_of_range_is_a_value_error(capacity: int) -> None:
    with pytest.raises(ValueError, match=r"cannot make a channel of capacity=.*; pass"):
        Channel(capacity)


@pytest.mark.parametrize("capacity", [True, False, 1.0, "8", [], object()])
def test_a_capacity_that_is_no_int_is_a_type_error(capacity: object) -> None:
    with pytest.raises(TypeError, match=r"cannot make a channel of capacity=.*; pass an int"):
        Channel(capacity)


def test_the_constructor_refuses_unknown_and_too_many_arguments() -> None:
    with pytest.raises(TypeError, match="there is no parameter 'size'"):
        Channel(size=3)
    with pytest.raises(TypeError, match="at most 1 positional, 2 were given"):
        Channel(1, 2)
    with pytest.raises(TypeError, match="'capacity' was given twice"):
        Channel(1, capacity=2)


def test_len_counts_the_messages_inside() -> None:
    channel = Channel[int](capacity=None)
    assert len(channel) == 0
    channel.send(1)
    channel.send(2)
    assert (len(channel), len(channel.sender), len(channel.receiver)) == (2, 2, 2)
    channel.recv()
    assert len(channel) == 1


def test_an_empty_channel_is_true() -> None:
    channel = Channel[int]()
    assert all((channel, channel.sender, channel.receiver))


def test_an_unbounded_channel_takes_more_than_any_default() -> None:
    channel = Channel[int](capacity=None)
    for number in range(10_000):
        channel.send_nowait(number)
    assert channel.recv_many(20_000) == list(range(10_000))


def test_the_message_is_a_clone_made_when_it_is_sent() -> None:
    channel = Channel[list[int]]()
    original = [1]
    channel.send(original)
    original.append(2)
    assert channel.recv() == [1]


def test_an_uncloneable_message_names_the_culprit_and_sends_nothing() -> None:
    channel = Channel[object]()
    with pytest.raises(atoll.CloneError) as caught:
        channel.send({"jobs": [1, (2, threading.Lock())]})
    assert caught.value.path == "message['jobs'][1][1]"
    assert len(channel) == 0


def test_send_waits_for_room(start, wait_for_blocked) -> None:
    channel = Channel[int](capacity=1)
    channel.send(1)
    sending = start(lambda: channel.send(2))
    wait_for_blocked(channel, senders=1)
    assert channel.recv() == 1
    sending.result()
    assert channel.recv() == 2


def test_recv_waits_for_a_message(start, wait_for_blocked) -> None:
    channel = Channel[str]()
    receiving = start(channel.recv)
    wait_for_blocked(channel, receivers=1)
    channel.send("late")
    assert receiving.result() == "late"


def test_a_rendezvous_send_ends_when_the_message_is_taken(start, wait_for_blocked) -> None:
    channel = Channel[int](capacity=0)
    sending = start(lambda: channel.send(1))
    wait_for_blocked(channel, senders=1)
    assert sending.thread.is_alive()
    assert channel.recv() == 1
    sending.result()


def test_a_rendezvous_without_a_partner_is_full_and_empty() -> None:
    channel = Channel[int](capacity=0)
    with pytest.raises(ChannelFull):
        channel.send_nowait(1)
    with pytest.raises(ChannelEmpty):
        channel.recv_nowait()


def test_nowait_verbs_raise_what_queue_raises() -> None:
    channel = Channel[int](capacity=1)
    channel.send_nowait(1)
    with pytest.raises(queue.Full, match="it is full") as full:
        channel.send_nowait(2)
    assert (type(full.value), full.value.code) == (ChannelFull, "channel_full")
    assert channel.recv_nowait() == 1
    with pytest.raises(queue.Empty, match="it is empty") as empty:
        channel.recv_nowait()
    assert (type(empty.value), empty.value.code) == (ChannelEmpty, "channel_empty")


@pytest.mark.parametrize("timeout", [0, 0.0, 0.01])
def test_a_send_that_finds_no_room_in_time_raises_timeout_error(timeout: float) -> None:
    channel = Channel[int](capacity=1)
    channel.send(1)
    with pytest.raises(TimeoutError, match="cannot send to channel"):
        channel.send(2, timeout=timeout)
    assert channel.recv_many(10) == [1]


@pytest.mark.parametrize("timeout", [0, 0.0, 0.01])
def test_a_recv_that_finds_no_message_in_time_raises_timeout_error(timeout: float) -> None:
    with pytest.raises(TimeoutError, match="cannot receive from channel"):
        Channel[int]().recv(timeout)


def test_a_timeout_is_waited_out_and_not_much_longer() -> None:
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        Channel[int]().recv(timeout=0.05)
    assert 0.05 <= time.monotonic() - before < 5


@pytest.mark.parametrize("timeout", [None, 1e300, float("inf"), 10**400, 2**63, 5])
def test_long_timeouts_are_fine(timeout: float | None, start, wait_for_blocked) -> None:
    channel = Channel[int](capacity=1)
    receiving = start(lambda: channel.recv(timeout=timeout))
    wait_for_blocked(channel, receivers=1)
    channel.send(1, timeout=timeout)
    assert receiving.result() == 1


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), float("-inf"), -(10**400)])
def test_a_timeout_that_is_no_duration_is_a_value_error(timeout: float) -> None:
    channel = Channel[int]()
    for verb in (channel.recv, lambda t: channel.send(1, t), lambda t: channel.send_many([1], t)):
        with pytest.raises(ValueError, match="cannot wait with timeout="):
            verb(timeout)
    with pytest.raises(ValueError, match="cannot wait with timeout="):
        channel.recv_many(1, timeout)
    assert len(channel) == 0


@pytest.mark.parametrize("timeout", ["1", [], {}, object()])
def test_a_timeout_that_is_no_number_is_a_type_error(timeout: object) -> None:
    channel = Channel[int]()
    with pytest.raises(TypeError, match="is no number of seconds"):
        channel.recv(timeout)
    with pytest.raises(TypeError, match="is no number of seconds"):
        channel.send(1, timeout)


def test_an_error_inside_a_timeouts_own_float_method_is_raised() -> None:
    class Odd:
        def __float__(self) -> float:
            raise ZeroDivisionError("odd")

    with pytest.raises(ZeroDivisionError, match="odd"):
        Channel[int]().recv(Odd())


def test_verbs_refuse_wrong_arguments_by_name() -> None:
    channel = Channel[int]()
    with pytest.raises(TypeError, match="'value' is missing"):
        channel.send()
    with pytest.raises(TypeError, match="there is no parameter 'seconds'"):
        channel.recv(seconds=1)
    with pytest.raises(TypeError, match="at most 2 positional, 3 were given"):
        channel.send(1, 2, 3)


def test_keywords_work_for_every_parameter() -> None:
    channel = Channel[int](capacity=8)
    channel.send(value=1, timeout=1)
    channel.send_many(iterable=[2, 3], timeout=None)
    assert channel.recv(timeout=None) == 1
    assert channel.recv_many(max=8, timeout=0) == [2, 3]


def test_every_message_reaches_exactly_one_of_many_receivers(start) -> None:
    channel = Channel[int](capacity=16)
    producers = [start(lambda first=first: channel.send_many(range(first, 2000, 4))) for first in range(4)]
    consumers = [start(lambda: list(channel)) for _ in range(4)]
    for producer in producers:
        producer.result()
    channel.close()
    received = [message for consumer in consumers for message in consumer.result()]
    assert sorted(received) == list(range(2000))


def test_each_senders_order_is_kept_among_many(start) -> None:
    channel = Channel[tuple[int, int]](capacity=4)

    def produce(sender: int) -> None:
        for number in range(500):
            channel.send((sender, number))

    producers = [start(lambda sender=sender: produce(sender)) for sender in range(3)]
    last = dict.fromkeys(range(3), -1)
    for _ in range(1500):
        sender, number = channel.recv()
        assert number == last[sender] + 1
        last[sender] = number
    for producer in producers:
        producer.result()


def test_a_blocked_verb_lets_other_threads_run(start, wait_for_blocked) -> None:
    channel = Channel[int]()
    receiving = start(channel.recv)
    wait_for_blocked(channel, receivers=1)
    assert sum(range(1000)) == 499500
    assert threading.active_count() >= 2
    channel.send(0)
    receiving.result()

"""How a conversation ends: closed, poisoned, or left by everybody."""

from __future__ import annotations

import threading

import pytest

import atoll
from atoll import Channel, ChannelClosed, ChannelPoisoned


def test_a_closed_channel_is_drained_then_raises() -> None:
    channel = Channel[int]()
    channel.send_many([1, 2])
    channel.close()
    assert [channel.recv(), channel.recv()] == [1, 2]
    with pytest.raises(ChannelClosed, match="it is closed"):
        channel.recv()
    with pytest.raises(ChannelClosed):
        channel.recv_nowait()


def test_a_closed_channel_refuses_every_send() -> None:
    channel = Channel[int]()
    channel.close()
    for send in (channel.send, channel.send_nowait, channel.sender.send, lambda x: channel.send_many([x])):
        with pytest.raises(ChannelClosed, match="cannot send to channel"):
            send(1)


def test_close_is_idempotent() -> None:
    channel = Channel[int]()
    channel.close()
    channel.close()
    assert channel.stats().closed


def test_iteration_ends_when_the_channel_is_closed_and_drained() -> None:
    channel = Channel[int]()
    channel.send_many([1, 2, 3])
    channel.close()
    assert list(channel) == [1, 2, 3]
    assert list(channel) == []
    assert list(channel.receiver) == []


def test_a_closed_channel_is_an_end_of_file() -> None:
    channel = Channel[int]()
    channel.close()
    with pytest.raises(EOFError) as caught:
        channel.recv()
    assert isinstance(caught.value, atoll.AtollError)
    assert caught.value.code == "channel_closed"


def test_closing_wakes_every_blocked_receiver(start, wait_for_blocked) -> None:
    channel = Channel[int]()
    receiving = [start(channel.recv) for _ in range(4)]
    wait_for_blocked(channel, receivers=4)
    channel.close()
    for receiver in receiving:
        with pytest.raises(ChannelClosed):
            receiver.result()


def test_closing_wakes_every_blocked_sender(start, wait_for_blocked) -> None:
    channel = Channel[int](capacity=1)
    channel.send(0)
    sending = [start(lambda: channel.send(1)) for _ in range(4)]
    wait_for_blocked(channel, senders=4)
    channel.close()
    for sender in sending:
        with pytest.raises(ChannelClosed):
            sender.result()
    assert list(channel) == [0]


def test_leaving_a_with_block_closes_the_channel() -> None:
    with Channel[int]() as channel:
        channel.send(1)
    with pytest.raises(ChannelClosed):
        channel.send(2)
    assert list(channel) == [1]


def test_a_with_block_lets_its_exception_pass() -> None:
    channel = Channel[int]()
    with pytest.raises(ZeroDivisionError), channel:
        raise ZeroDivisionError
    assert channel.stats().closed


@pytest.mark.parametrize("reason", [None, "boiler", {"code": [1, 2]}, -1])
def test_poison_reaches_every_verb_with_its_reason(reason: object) -> None:
    channel = Channel[int]()
    channel.send(1)
    channel.poison(reason)
    verbs = [
        lambda: channel.send(1),
        lambda: channel.send_nowait(1),
        lambda: channel.send_many([1]),
        channel.recv,
        channel.recv_nowait,
        lambda: channel.recv_many(3),
        lambda: list(channel),
        lambda: channel.sender.send(1),
        lambda: channel.receiver.recv(),
    ]
    for verb in verbs:
        with pytest.raises(ChannelPoisoned) as caught:
            verb()
        assert caught.value.reason == reason
        assert caught.value.code == "channel_poisoned"


def test_poison_drops_what_is_inside() -> None:
    channel = Channel[object]()
    reply = Channel[int]()
    channel.send(reply.sender)
    assert reply.stats().senders == 2
    channel.poison()
    assert len(channel) == 0
    assert reply.stats().senders == 1


def test_the_first_poison_stays() -> None:
    channel = Channel[int]()
    channel.poison("first")
    channel.poison("second")
    with pytest.raises(ChannelPoisoned, match="first") as caught:
        channel.recv()
    assert caught.value.reason == "first"


def test_closing_a_poisoned_channel_changes_nothing() -> None:
    channel = Channel[int]()
    channel.poison("why")
    channel.close()
    with pytest.raises(ChannelPoisoned):
        channel.recv()


def test_a_closed_channel_can_still_be_poisoned() -> None:
    channel = Channel[int]()
    channel.send(1)
    channel.close()
    channel.poison("late")
    with pytest.raises(ChannelPoisoned):
        channel.recv()


def test_an_uncloneable_reason_poisons_nothing() -> None:
    channel = Channel[int]()
    with pytest.raises(atoll.CloneError) as caught:
        channel.poison([threading.Lock()])
    assert caught.value.path == "reason[0]"
    channel.send(1)
    assert channel.recv() == 1


def test_a_reason_cannot_hold_channel_ends() -> None:
    channel = Channel[int]()
    other = Channel[int]()
    with pytest.raises(TypeError, match="holds channel ends"):
        channel.poison(other.sender)
    assert other.stats().senders == 1
    assert not channel.stats().poisoned


def test_poison_wakes_both_sides(start, wait_for_blocked) -> None:
    full = Channel[int](capacity=1)
    full.send(0)
    empty = Channel[int]()
    sending = start(lambda: full.send(1))
    receiving = start(empty.recv)
    wait_for_blocked(full, senders=1)
    wait_for_blocked(empty, receivers=1)
    full.poison("a")
    empty.poison("b")
    with pytest.raises(ChannelPoisoned, match="a"):
        sending.result()
    with pytest.raises(ChannelPoisoned, match="b"):
        receiving.result()


@pytest.mark.parametrize("end", ["close", "poison"])
def test_many_threads_may_end_a_busy_channel_at_once(end: str, start) -> None:
    for _ in range(20):
        channel = Channel[int](capacity=2)
        barrier = threading.Barrier(8)

        def send(channel: Channel[int] = channel, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            while True:
                channel.send(1)

        def receive(channel: Channel[int] = channel, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            while True:
                channel.recv()

        def finish(channel: Channel[int] = channel, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            getattr(channel, end)()

        working = [start(work) for work in (send, send, receive, receive)]
        ending = [start(finish) for _ in range(4)]
        for background in ending:
            background.result()
        for background in working:
            with pytest.raises((ChannelClosed, ChannelPoisoned)):
                background.result()
        assert channel.stats().closed or channel.stats().poisoned


@pytest.mark.parametrize("refusal", ["close", "poison"])
def test_sends_from_many_threads_to_an_ended_channel_all_fail(refusal: str, start) -> None:
    channel = Channel[int]()
    getattr(channel, refusal)()
    barrier = threading.Barrier(8)

    def send() -> None:
        barrier.wait()
        for _ in range(200):
            with pytest.raises((ChannelClosed, ChannelPoisoned)):
                channel.send(1)

    for background in [start(send) for _ in range(8)]:
        background.result()
    assert len(channel) == 0

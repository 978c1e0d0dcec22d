"""One-way ends: what they can do, how they are counted, how they travel."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest

import atoll
from atoll import Channel, ChannelClosed, Receiver, Sender


def test_a_sender_sends_and_a_receiver_receives() -> None:
    channel = Channel[int]()
    channel.sender.send(1)
    assert channel.receiver.recv() == 1
    assert not hasattr(channel.sender, "recv")
    assert not hasattr(channel.receiver, "send")


def test_ends_are_counted_while_they_live() -> None:
    channel = Channel[int]()
    sender, receiver, other = channel.sender, channel.receiver, channel.sender
    assert (channel.stats().senders, channel.stats().receivers) == (3, 2)
    del sender, other, receiver
    gc.collect()
    assert (channel.stats().senders, channel.stats().receivers) == (1, 1)


def test_the_last_sender_gone_ends_the_receivers_iteration() -> None:
    channel = Channel[int]()
    sender, receiver = channel.sender, channel.receiver
    del channel
    sender.send(1)
    del sender
    gc.collect()
    assert list(receiver) == [1]
    with pytest.raises(ChannelClosed):
        receiver.recv()


def test_the_last_receiver_gone_fails_the_senders() -> None:
    channel = Channel[int]()
    sender, receiver = channel.sender, channel.receiver
    del channel
    sender.send(1)
    del receiver
    gc.collect()
    with pytest.raises(ChannelClosed):
        sender.send(2)


def test_the_last_sender_gone_wakes_a_blocked_receiver(start, wait_for_blocked) -> None:
    channel = Channel[int]()
    sender, receiver = channel.sender, channel.receiver
    receiving = start(receiver.recv)
    wait_for_blocked(channel, receivers=1)
    del channel
    sender.close()
    with pytest.raises(ChannelClosed):
        receiving.result()


def test_the_last_receiver_gone_wakes_a_blocked_sender(start, wait_for_blocked) -> None:
    channel = Channel[int](capacity=1)
    channel.send(0)
    sender, receiver = channel.sender, channel.receiver
    sending = start(lambda: sender.send(1))
    wait_for_blocked(channel, senders=1)
    del channel
    receiver.close()
    with pytest.raises(ChannelClosed):
        sending.result()


def test_closing_a_sender_gives_up_that_one_only() -> None:
    channel = Channel[int]()
    first, second = channel.sender, channel.sender
    first.close()
    first.close()
    with pytest.raises(ChannelClosed, match=r"cannot use this Sender \(its close\(\) was called\)"):
        first.send(1)
    second.send(2)
    assert channel.recv() == 2
    assert channel.stats().senders == 2


def test_every_verb_of_a_given_up_end_raises_channel_closed() -> None:
    channel = Channel[int]()
    sender, receiver = channel.sender, channel.receiver
    sender.close()
    receiver.close()
    verbs = [
        lambda: sender.send(1),
        lambda: sender.send_nowait(1),
        lambda: sender.send_many([1]),
        lambda: sender.poison(),
        lambda: sender.stats(),
        lambda: len(sender),
        lambda: sender.capacity,
        lambda: receiver.recv(),
        lambda: receiver.recv_nowait(),
        lambda: receiver.recv_many(1),
        lambda: next(receiver),
        lambda: atoll.select(receiver, default=None),
        lambda: atoll.select(sender.sending(1), default=None),
    ]
    for verb in verbs:
        with pytest.raises(ChannelClosed, match="close"):
            verb()
    assert "given up" in repr(sender)
    assert sender.id == receiver.id == channel.id


def test_a_given_up_end_cannot_be_sent() -> None:
    channel = Channel[object]()
    sender = channel.sender
    sender.close()
    with pytest.raises(atoll.CloneError, match=r"cannot clone message\[0\] \(Sender\); it was given up by close\(\)"):
        channel.send([sender])


def test_leaving_a_with_block_gives_the_end_up() -> None:
    channel = Channel[int]()
    with channel.sender as sender, channel.receiver as receiver:
        sender.send(1)
        assert receiver.recv() == 1
    assert (channel.stats().senders, channel.stats().receivers) == (1, 1)
    channel.send(2)
    assert channel.recv() == 2


def test_an_end_given_up_while_another_thread_waits_on_it_counts_until_then(start, wait_for_blocked) -> None:
    channel = Channel[int]()
    receiver = channel.receiver
    receiving = start(receiver.recv)
    wait_for_blocked(channel, receivers=1)
    receiver.close()
    assert channel.stats().receivers == 2
    channel.send(1)
    assert receiving.result() == 1
    assert channel.stats().receivers == 1


def test_ends_cross_in_messages() -> None:
    requests = Channel[tuple[int, Sender[int]]]()
    replies = Channel[int]()
    requests.send((20, replies.sender))
    assert replies.stats().senders == 2
    number, reply_to = requests.recv()
    reply_to.send(number + 1)
    assert replies.recv() == 21
    del reply_to
    gc.collect()
    assert replies.stats().senders == 1


def test_a_whole_channel_crosses_and_stays_the_same() -> None:
    carrier = Channel[Channel[int]]()
    channel = Channel[int]()
    carrier.send(channel)
    other = carrier.recv()
    assert other is not channel
    assert other == channel
    assert hash(other) == hash(channel)
    other.send(1)
    assert channel.recv() == 1


def test_an_end_in_a_message_that_nobody_takes_is_released() -> None:
    carrier = Channel[Receiver[int]]()
    channel = Channel[int]()
    carrier.send(channel.receiver)
    gc.collect()
    assert channel.stats().receivers == 2
    del carrier
    gc.collect()
    assert channel.stats().receivers == 1


def test_equality_is_of_channel_and_direction() -> None:
    channel, other = Channel[int](), Channel[int]()
    assert channel == channel
    assert channel.sender == channel.sender
    assert channel.sender != channel.receiver
    assert channel != channel.sender
    assert channel != other
    assert channel != 1
    assert len({channel.sender, channel.sender, channel.receiver}) == 2


def test_ends_cannot_be_made_by_themselves() -> None:
    for end in (Sender, Receiver, atoll.SendCase, atoll.AfterCase):
        with pytest.raises(TypeError, match=r"cannot make an? \w+ by itself .*; use"):
            end()


@pytest.mark.parametrize("end", ["sender", "receiver", None])
def test_pickling_and_copying_are_refused_with_the_way_out(end: str | None) -> None:
    channel = Channel[int]()
    victim = getattr(channel, end) if end else channel
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"cannot pickle a \w+ .*; send it in a message"):
            attempt(victim)


def test_channels_can_be_weakly_referenced() -> None:
    channel = Channel[int]()
    reference = weakref.ref(channel)
    assert reference() is channel
    del channel
    gc.collect()
    assert reference() is None


def test_classes_take_a_type_argument() -> None:
    assert Channel[int].__origin__ is Channel
    assert Sender[int].__args__ == (int,)
    assert repr(Receiver[str]) == "atoll.Receiver[str]"
    assert isinstance(Channel[int](), Channel)


def test_the_classes_are_final() -> None:
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Mine", (Channel,), {})


def test_repr_says_how_it_stands() -> None:
    channel = Channel[int](capacity=3)
    channel.send(1)
    assert repr(channel) == f"<atoll.Channel {channel.id}: open, 1 inside, capacity 3>"
    channel.close()
    assert "closed" in repr(channel.receiver)
    channel.poison()
    assert "poisoned" in repr(channel)
    assert "capacity None" in repr(Channel(None))

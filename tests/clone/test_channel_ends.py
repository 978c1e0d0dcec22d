"""Channel ends are messages too, counted while they travel."""

from __future__ import annotations

import gc
from typing import Any

import pytest

import atoll


def test_a_channel_comes_back_as_the_same_channel() -> None:
    channel: atoll.Channel[int] = atoll.Channel(2)
    copy = atoll.clone(channel)
    assert type(copy) is atoll.Channel
    assert copy is not channel
    assert copy.id == channel.id
    copy.send(5)
    assert channel.recv() == 5


def test_one_way_ends_keep_their_way() -> None:
    channel: atoll.Channel[int] = atoll.Channel(2)
    sender, receiver = atoll.clone((channel.sender, channel.receiver))
    assert type(sender) is atoll.Sender
    assert type(receiver) is atoll.Receiver
    sender.send(7)
    assert receiver.recv() == 7


def test_an_end_met_twice_comes_back_as_one() -> None:
    channel: atoll.Channel[int] = atoll.Channel(2)
    first, rest = atoll.clone([channel, {"again": channel, channel: "as a key"}])
    assert first is rest["again"]
    assert rest[first] == "as a key"


def test_a_reply_channel_travels_in_a_message() -> None:
    questions: atoll.Channel[dict[str, Any]] = atoll.Channel(1)
    answers: atoll.Channel[int] = atoll.Channel(1)
    questions.send({"number": 6, "reply": answers.sender})
    question = questions.recv()
    question["reply"].send(question["number"] * 7)
    assert answers.recv() == 42


def test_an_end_that_was_given_up_is_refused() -> None:
    sender = atoll.Channel[int](1).sender
    sender.close()
    with pytest.raises(atoll.CloneError, match=r"value\[0\] \(Sender\)"):
        atoll.clone([sender])


def test_ends_in_a_refused_message_are_released() -> None:
    channel: atoll.Channel[int] = atoll.Channel(1)
    before = channel.stats()
    for _ in range(3):
        with pytest.raises(atoll.CloneError):
            atoll.clone([channel.sender, channel.receiver, channel, (number for number in ())])
    after = channel.stats()
    assert (after.senders, after.receivers) == (before.senders, before.receivers)


def test_ends_in_a_message_that_nobody_receives_are_released() -> None:
    inner: atoll.Channel[int] = atoll.Channel(1)
    outer: atoll.Channel[Any] = atoll.Channel(4)
    before = inner.stats()
    outer.send([inner.sender, inner.receiver])
    assert inner.stats().senders == before.senders + 1
    outer.poison()
    del outer
    gc.collect()
    after = inner.stats()
    assert (after.senders, after.receivers) == (before.senders, before.receivers)


def test_a_travelling_sender_keeps_its_channel_open() -> None:
    inner: atoll.Channel[int] = atoll.Channel(1)
    receiver = inner.receiver
    outer: atoll.Channel[Any] = atoll.Channel(1)
    outer.send(inner.sender)
    del inner
    gc.collect()
    sender = outer.recv()
    sender.send(1)
    assert receiver.recv() == 1
    sender.close()
    with pytest.raises(atoll.ChannelClosed):
        receiver.recv(timeout=30)

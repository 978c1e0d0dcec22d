"""Arguments made to hurt: they raise, and the channel goes on."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator

import pytest

import atoll
from atoll import Channel, ChannelClosed, ChannelPoisoned


class EvilFloat:
    def __init__(self, act) -> None:
        self.act = act

    def __float__(self) -> float:
        self.act()
        return 0.0


class EvilRepr:
    def __repr__(self) -> str:
        raise ZeroDivisionError("repr")


class EvilInt(int):
    def __index__(self) -> int:
        raise ZeroDivisionError("index")

    def __lt__(self, other: object) -> bool:
        raise ZeroDivisionError("lt")


CLOSED = Channel[object]()
CLOSED.close()

ODD = [
    None, True, 0, -1, 3, 1.5, float("nan"), float("inf"), 10**400, "", "x" * 100, b"", [], (1,), {}, {1: 2}, set(),
    object(), EvilRepr(), EvilInt(3), EvilInt(-3), EvilInt(10**400), len, type, Channel, CLOSED, CLOSED.sender,
    CLOSED.receiver, NotImplemented, ..., range(3), iter([1]), 1j, slice(None), "\ud800", gc, Exception("x"),
]  # fmt: skip

EXPECTED = (atoll.AtollError, TypeError, ValueError, TimeoutError, ZeroDivisionError, OverflowError)


@pytest.mark.parametrize(
    "verb", ["send", "send_nowait", "send_many", "recv", "recv_nowait", "recv_many", "sending", "poison"]
)
def test_any_arguments_raise_or_work(verb: str) -> None:
    shapes = [(), *((x,) for x in ODD), *itertools.product(ODD, ODD), (1, 2, 3), (1, 2, 3, 4)]
    for arguments in shapes:
        channel = Channel[object](capacity=None)
        channel.send_many(range(3))
        try:
            getattr(channel, verb)(*arguments)
        except EXPECTED:
            pass
        assert channel.stats().depth == len(channel)


@pytest.mark.parametrize("name", ["value", "timeout", "max", "iterable", "reason", "x", "", "\ud800", "self"])
def test_any_keyword_raises_or_works(name: str) -> None:
    for verb in ("send", "send_many", "recv", "recv_many", "poison", "close", "stats", "send_nowait"):
        for odd in ODD:
            channel = Channel[object](capacity=None)
            channel.send(0)
            try:
                getattr(channel, verb)(**{name: odd})
            except (*EXPECTED, UnicodeEncodeError):
                pass


def test_any_capacity_raises_or_works() -> None:
    for odd in ODD:
        try:
            Channel(odd)
        except EXPECTED:
            pass


def test_any_cases_raise_or_work() -> None:
    for first, second in itertools.product(ODD, ODD):
        for options in ({}, {"default": second}, {"timeout": second}):
            try:
                atoll.select(first, second, Channel().sending(first), **{"timeout": 0, **options})
            except EXPECTED:
                pass


def test_any_timer_raises_or_works() -> None:
    for odd in ODD:
        try:
            atoll.after(odd)
        except EXPECTED:
            pass


def test_a_timeout_that_gives_its_own_end_up_meets_a_closed_end() -> None:
    channel = Channel[int]()
    sender, receiver = channel.sender, channel.receiver
    with pytest.raises(ChannelClosed):
        sender.send(1, timeout=EvilFloat(sender.close))
    with pytest.raises(ChannelClosed):
        receiver.recv(timeout=EvilFloat(receiver.close))
    assert (channel.stats().senders, channel.stats().receivers) == (1, 1)


def test_an_iterator_that_gives_the_end_up_still_delivers_what_it_yields() -> None:
    channel = Channel[int]()
    sender = channel.sender

    def closing() -> Iterator[int]:
        yield 1
        sender.close()
        assert channel.stats().senders == 2
        yield 2

    assert sender.send_many(closing()) == 2
    assert channel.recv_many(5) == [1, 2]
    assert channel.stats().senders == 1


def test_an_iterator_that_poisons_its_channel_meets_the_poison() -> None:
    channel = Channel[int]()

    def poisoning() -> Iterator[int]:
        yield 1
        channel.poison("own")
        yield 2

    with pytest.raises(ChannelPoisoned, match="own") as caught:
        channel.send_many(poisoning())
    assert caught.value.sent == 1


def test_an_iterator_that_receives_from_its_channel_is_fine() -> None:
    channel = Channel[int](capacity=1)

    def echoing() -> Iterator[int]:
        for number in range(100):
            yield number
            assert channel.recv() == number

    assert channel.send_many(echoing()) == 100


def test_finalizers_run_by_a_verb_may_use_the_same_channel() -> None:
    channel = Channel[object](capacity=None)

    class Node:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            channel.send_nowait("finalized")

    for _ in range(2000):
        Node()
        channel.send([[], [], {}])
        channel.recv_many(100)
    gc.collect()
    assert channel.stats().sent > 2000


def test_deep_nesting_is_refused_or_survives_both_ways() -> None:
    channel = Channel[object]()
    for depth in (100, 5_000, 200_000):
        nested: object = None
        for _ in range(depth):
            nested = [nested]
        try:
            channel.send(nested)
        except atoll.CloneError:
            continue
        received = channel.recv()
        for _ in range(depth):
            (received,) = received
        assert received is None
        del nested


def test_a_message_of_many_megabytes_crosses() -> None:
    channel = Channel[bytes](capacity=1)
    blob = bytes(range(256)) * (64 << 12)
    channel.send(blob)
    assert channel.recv() == blob

"""Eight senders and eight receivers in sub-interpreters: each message reaches exactly one of them, whatever happens.

`ATOLL_STRESS_MESSAGES` and `ATOLL_STRESS_ROUNDS` scale it.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable

import pytest

import atoll
from atoll import Channel

type RunChild = Callable[[str], tuple[int, str, str]]

MESSAGES = int(os.environ.get("ATOLL_STRESS_MESSAGES", "10000000"))
SENDERS = RECEIVERS = 8
MODULUS = (1 << 61) - 1
"""A prime: the sum of squares modulo it changes if any message is lost, doubled or altered."""


def send_share(sender: atoll.Sender[int], first: int, end: int, batch: int) -> None:
    with sender:
        if batch:
            for start in range(first, end, batch):
                sender.send_many(range(start, min(start + batch, end)))
        else:
            for number in range(first, end):
                sender.send(number)


def receive_share(receiver: atoll.Receiver[int], batch: int) -> tuple[int, int, int]:
    count = total = squares = 0
    if batch:
        while True:
            try:
                numbers = receiver.recv_many(batch)
            except atoll.ChannelClosed:
                return count, total, squares % MODULUS
            count += len(numbers)
            total += sum(numbers)
            squares += sum([number * number for number in numbers])
    for number in receiver:
        count += 1
        total += number
        squares += number * number
    return count, total, squares % MODULUS


def expected(messages: int) -> tuple[int, int, int]:
    last = messages - 1
    return messages, last * messages // 2, last * messages * (2 * last + 1) // 6 % MODULUS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("capacity", "batch", "part"),
    [(64, 0, 1.0), (1024, 256, 1.0), (None, 0, 0.1), (0, 0, 0.02), (1, 0, 0.05)],
    ids=["bounded", "batches", "unbounded", "rendezvous", "capacity 1"],
)
def test_each_message_is_received_exactly_once(capacity: int | None, batch: int, part: float) -> None:
    messages = max(int(MESSAGES * part), SENDERS)
    channel: Channel[int] = Channel(capacity)
    began = time.perf_counter()
    with atoll.TaskGroup() as group:
        receivers = [group.spawn(receive_share, channel.receiver, batch) for _ in range(RECEIVERS)]
        bounds = [messages * index // SENDERS for index in range(SENDERS + 1)]
        for first, end in itertools.pairwise(bounds):
            group.spawn(send_share, channel.sender, first, end, batch)
        del channel
    seconds = time.perf_counter() - began
    shares = [receiver.result() for receiver in receivers]
    print(f"{messages / seconds / 1e6:.2f} M messages/s; shares {[count for count, _, _ in shares]}")
    count = sum(share[0] for share in shares)
    total = sum(share[1] for share in shares)
    squares = sum(share[2] for share in shares) % MODULUS
    assert (count, total, squares) == expected(messages)


# With closes and poisons at random moments -----------------------------------------------------------------------


def send_until_the_end(sender: atoll.Sender[tuple[int, int]], number: int) -> int:
    """How many sends succeeded."""
    sent = 0
    try:
        while True:
            sender.send((number, sent))
            sent += 1
    except (atoll.ChannelClosed, atoll.ChannelPoisoned):
        return sent


def receive_until_the_end(
    receiver: atoll.Receiver[tuple[int, int]], signal: atoll.Sender[int], every: int
) -> tuple[str, list[tuple[int, int]]]:
    """What came, and how it ended; after each *every* messages a word to whoever ends it."""
    received: list[tuple[int, int]] = []
    try:
        while True:
            received.append(receiver.recv())
            if len(received) % every == 0:
                signal.send(1)
    except atoll.ChannelClosed:
        return "closed", received
    except atoll.ChannelPoisoned as error:
        return str(error.reason), received


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("ATOLL_STRESS_ROUNDS", "100"))))
def test_random_closes_and_poisons_lose_and_double_nothing(seed: int) -> None:
    chance = random.Random(seed)
    poisoned = chance.random() < 0.5
    channel: Channel[tuple[int, int]] = Channel(chance.choice([0, 1, 7, 64, 1024]))
    signal: Channel[int] = Channel(None)
    every = chance.randrange(1, 400)
    receivers = [atoll.spawn(receive_until_the_end, channel.receiver, signal.sender, every) for _ in range(RECEIVERS)]
    senders = [atoll.spawn(send_until_the_end, channel.sender, number) for number in range(SENDERS)]
    for _ in range(chance.randrange(1, 30)):
        signal.recv(timeout=60)
    # From several sides at once: both verbs are idempotent.
    end = (lambda end: end.poison("storm")) if poisoned else (lambda end: end.close())
    enders = [atoll.spawn(end, channel) for _ in range(2)]
    end(channel)
    for ender in enders:
        ender.result(timeout=60)

    counts = [sender.result(timeout=60) for sender in senders]
    received: list[tuple[int, int]] = []
    for receiver in receivers:
        how, messages = receiver.result(timeout=60)
        assert how == ("storm" if poisoned else "closed")
        newest = [-1] * SENDERS
        for number, position in messages:
            assert position > newest[number]  # per sender order
            newest[number] = position
        received += messages
    assert len(set(received)) == len(received)
    sent = {(number, position) for number, count in enumerate(counts) for position in range(count)}
    if poisoned:
        assert set(received) <= sent
    else:
        assert set(received) == sent


# The process ends in the middle ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "expected_code"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError", 1),
        ("os.kill(os.getpid(), signal.SIGINT); main.recv()", -2),
    ],
    ids=["return", "sys.exit", "exception", "Ctrl-C"],
)
def test_exit_in_the_middle_of_all_that_is_clean(run_child: RunChild, end: str, expected_code: int) -> None:
    code, _, err = run_child(
        f"""
        import os, signal, sys
        import atoll

        def send(sender, number):
            for position in range(10**12):
                sender.send((number, position, "x" * (position % 40), [position]))

        def receive(receiver, tell):
            for count, _ in enumerate(receiver):
                if count == 1000:
                    tell.send(1)

        channel, tell, main = atoll.Channel(64), atoll.Channel(None), atoll.Channel()
        tasks = [atoll.spawn(send, channel.sender, number) for number in range(8)]
        tasks += [atoll.spawn(receive, channel.receiver, tell.sender) for _ in range(8)]
        for _ in range(8):
            tell.recv()
        {end}
        """
    )
    assert code == expected_code, err
    assert "still in C code" not in err

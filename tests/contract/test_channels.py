"""What DESIGN promises of channels holds between the caller and a host of any kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import atoll
from atoll import Channel, ChannelClosed, ChannelPoisoned

type Spawn = Callable[..., atoll.Task[Any]]

CAPACITIES = pytest.mark.parametrize("capacity", [0, 1, 3, 64, None])


def send_all(sender: atoll.Sender[Any], messages: list[Any]) -> None:
    with sender:
        for message in messages:
            sender.send(message)


def receive_all(receiver: atoll.Receiver[Any]) -> list[Any]:
    return list(receiver)


def echo(requests: atoll.Receiver[Any], answers: atoll.Sender[Any]) -> None:
    for request in requests:
        answers.send(request)


def outcome_of(end: Any, verb: str, *args: Any) -> tuple[str, Any]:
    try:
        return "returned", getattr(end, verb)(*args)
    except atoll.AtollError as error:
        return type(error).__name__, getattr(error, "reason", None)


@CAPACITIES
def test_messages_arrive_in_order_from_a_host(spawn: Spawn, capacity: int | None) -> None:
    channel: Channel[int] = Channel(capacity)
    receiver = channel.receiver
    spawn(send_all, channel.sender, list(range(500)))
    del channel
    assert list(receiver) == list(range(500))


@CAPACITIES
def test_messages_arrive_in_order_at_a_host(spawn: Spawn, capacity: int | None) -> None:
    channel: Channel[int] = Channel(capacity)
    task = spawn(receive_all, channel.receiver)
    with channel:
        for number in range(500):
            channel.send(number)
    assert task.result(timeout=30) == list(range(500))


@CAPACITIES
def test_batches_arrive_in_order(spawn: Spawn, capacity: int | None) -> None:
    channel: Channel[int] = Channel(capacity)
    task = spawn(receive_all, channel.receiver)
    with channel:
        assert channel.send_many(range(5000)) == 5000
    assert task.result(timeout=30) == list(range(5000))


@CAPACITIES
def test_each_message_reaches_exactly_one_of_many_receivers(spawn: Spawn, capacity: int | None) -> None:
    channel: Channel[int] = Channel(capacity)
    tasks = [spawn(receive_all, channel.receiver) for _ in range(4)]
    with channel:
        for number in range(1000):
            channel.send(number)
    received = [number for task in tasks for number in task.result(timeout=30)]
    assert sorted(received) == list(range(1000))


def test_the_order_of_each_of_many_senders_is_kept(spawn: Spawn) -> None:
    channel: Channel[tuple[int, int]] = Channel(8)
    receiver = channel.receiver
    for sender in range(4):
        spawn(send_all, channel.sender, [(sender, number) for number in range(300)])
    del channel
    last = [-1] * 4
    for sender, number in receiver:
        assert number == last[sender] + 1
        last[sender] = number
    assert last == [299] * 4


def test_close_lets_receivers_drain_and_then_ends_them(spawn: Spawn) -> None:
    channel: Channel[int] = Channel(10)
    channel.send_many([1, 2, 3])
    channel.close()
    channel.close()
    assert spawn(receive_all, channel.receiver).result(timeout=30) == [1, 2, 3]
    assert spawn(outcome_of, channel.receiver, "recv").result(timeout=30) == ("ChannelClosed", None)
    assert spawn(outcome_of, channel.sender, "send", 4).result(timeout=30) == ("ChannelClosed", None)


def test_close_wakes_a_receiver_that_waits_at_a_host(spawn: Spawn) -> None:
    channel: Channel[int] = Channel()
    task = spawn(outcome_of, channel.receiver, "recv")
    channel.close()
    assert task.result(timeout=30) == ("ChannelClosed", None)


def test_close_wakes_a_sender_that_waits_at_a_host(spawn: Spawn) -> None:
    channel: Channel[int] = Channel(0)
    task = spawn(outcome_of, channel.sender, "send", 1)
    channel.close()
    assert task.result(timeout=30) == ("ChannelClosed", None)


def test_poison_drops_what_is_buffered_and_tells_both_sides_why(spawn: Spawn) -> None:
    channel: Channel[int] = Channel(10)
    channel.send_many([1, 2, 3])
    channel.poison(["leak", 3])
    channel.poison("again")
    assert spawn(outcome_of, channel.receiver, "recv").result(timeout=30) == ("ChannelPoisoned", ["leak", 3])
    assert spawn(outcome_of, channel.sender, "send", 4).result(timeout=30) == ("ChannelPoisoned", ["leak", 3])
    assert len(channel) == 0


def test_poison_from_a_host_wakes_the_caller(spawn: Spawn) -> None:
    channel: Channel[int] = Channel()
    spawn(channel.sender.poison, "from afar")
    with pytest.raises(ChannelPoisoned) as caught:
        channel.recv(timeout=30)
    assert caught.value.reason == "from afar"


def test_the_end_of_the_last_sender_closes_the_channel(spawn: Spawn) -> None:
    channel: Channel[int] = Channel(10)
    receiver = channel.receiver
    tasks = [spawn(send_all, channel.sender, [1, 2]) for _ in range(3)]
    del channel
    assert sorted(receiver) == [1, 1, 1, 2, 2, 2]
    for task in tasks:
        task.join(30)


def test_the_end_of_the_last_receiver_fails_the_senders(spawn: Spawn) -> None:
    def receive_one(receiver: atoll.Receiver[int]) -> int:
        return receiver.recv()

    channel: Channel[int] = Channel(0)
    sender = channel.sender
    task = spawn(receive_one, channel.receiver)
    del channel
    sender.send(1)
    with pytest.raises(ChannelClosed):
        sender.send(2, timeout=30)
    assert task.result() == 1


def test_the_death_of_a_task_releases_its_ends(spawn: Spawn) -> None:
    def die(sender: atoll.Sender[int]) -> None:
        sender.send(1)
        raise ValueError

    channel: Channel[int] = Channel(10)
    receiver = channel.receiver
    task = spawn(die, channel.sender)
    del channel
    assert list(receiver) == [1]
    assert isinstance(task.exception(timeout=30), ValueError)


def test_the_cancellation_of_a_task_releases_its_ends(spawn: Spawn) -> None:
    channel: Channel[int] = Channel(10)
    gate: Channel[int] = Channel()
    receiver = channel.receiver

    def hold(sender: atoll.Sender[int], gate: atoll.Receiver[int]) -> None:
        sender.send(1)
        gate.recv()

    task = spawn(hold, channel.sender, gate.receiver)
    del channel
    assert receiver.recv(timeout=30) == 1
    task.cancel()
    assert list(receiver) == []


def test_a_reply_channel_travels_in_a_message(spawn: Spawn) -> None:
    def serve(requests: atoll.Receiver[tuple[int, atoll.Sender[int]]]) -> None:
        for number, answer in requests:
            answer.send(number * number)

    requests: Channel[tuple[int, atoll.Sender[int]]] = Channel()
    spawn(serve, requests.receiver)
    for number in range(20):
        reply: Channel[int] = Channel(1)
        requests.send((number, reply.sender))
        assert reply.recv(timeout=30) == number * number
    requests.close()


def test_select_waits_for_whichever_host_answers(spawn: Spawn) -> None:
    channels: list[Channel[int]] = [Channel() for _ in range(3)]
    receivers = [channel.receiver for channel in channels]
    for number, channel in enumerate(channels):
        spawn(send_all, channel.sender, [number])
    del channels, channel
    seen = set()
    while receivers:
        try:
            case, value = atoll.select(*receivers, timeout=30)
        except ChannelClosed as closed:
            receivers = [receiver for receiver in receivers if receiver is not closed.case]
        else:
            assert case in receivers
            seen.add(value)
    assert seen == {0, 1, 2}


def test_a_timeout_loses_no_message(spawn: Spawn) -> None:
    channel: Channel[int] = Channel(0)
    with pytest.raises(TimeoutError):
        channel.send(1, timeout=0.01)
    task = spawn(receive_all, channel.receiver)
    channel.send(2, timeout=30)
    channel.close()
    assert task.result(timeout=30) == [2]


def test_a_failed_send_sends_nothing(spawn: Spawn) -> None:
    channel: Channel[Any] = Channel(10)
    with pytest.raises(atoll.CloneError):
        channel.send([1, 2, (number for number in ())])
    channel.send("whole")
    channel.close()
    assert spawn(receive_all, channel.receiver).result(timeout=30) == ["whole"]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
GRAPHS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.frozensets(st.integers())
    ),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs=st.lists(GRAPHS, max_size=5))
def test_whatever_is_sent_comes_back_equal(spawn: Spawn, graphs: list[Any]) -> None:
    requests: Channel[Any] = Channel()
    answers: Channel[Any] = Channel()
    task = spawn(echo, requests.receiver, answers.sender)
    for graph in graphs:
        requests.send(graph)
        assert answers.recv(timeout=30) == graph
    requests.close()
    task.result(timeout=30)

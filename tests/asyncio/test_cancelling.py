"""A wait that is cancelled or times out loses nothing, whatever happens at the same moment."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest
from tests.asyncio.test_verbs import blocked, run

import atoll


@pytest.mark.parametrize("capacity", [0, 1, None])
def test_a_cancelled_receive_leaves_nothing_behind(capacity: int | None) -> None:
    async def main() -> None:
        channel = atoll.Channel[int](capacity)
        waiting = asyncio.create_task(channel.arecv())
        await blocked(channel, receivers=1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert channel.stats().blocked_receivers == 0

    run(main())


@pytest.mark.parametrize("capacity", [0, 1])
def test_a_cancelled_send_has_not_sent(capacity: int) -> None:
    async def main() -> None:
        channel = atoll.Channel[str](capacity)
        for _ in range(capacity):
            channel.send("before")
        waiting = asyncio.create_task(channel.asend("after"))
        await blocked(channel, senders=1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert channel.stats().blocked_senders == 0
        assert len(channel) == capacity

    run(main())


def test_a_timeout_ends_a_receive() -> None:
    async def main() -> None:
        channel = atoll.Channel[int](1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await channel.arecv()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.arecv(), 0.01)
        channel.send(1)
        assert await channel.arecv() == 1

    run(main())


def test_a_receive_that_was_told_and_then_cancelled_leaves_the_message_to_the_next() -> None:
    async def main() -> None:
        channel = atoll.Channel[str](1)
        first = asyncio.create_task(channel.arecv())
        await blocked(channel, receivers=1)
        second = asyncio.create_task(channel.arecv())
        await blocked(channel, receivers=2)
        channel.send("for whoever comes")
        first.cancel()  # before the loop has looked
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second == "for whoever comes"

    run(main())


def test_a_receive_cancelled_between_wake_up_and_step_leaves_the_message_in_the_channel() -> None:
    async def main() -> None:
        channel = atoll.Channel[str](1)
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(channel.arecv())
        await blocked(channel, receivers=1)
        channel.send("still there")
        # The loop's reader runs in the next turn and wakes the task, which would run in the turn after that.
        loop.call_soon(loop.call_soon, waiting.cancel)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert channel.recv_nowait() == "still there"

    run(main())


def test_a_message_that_a_rendezvous_handed_over_is_returned_and_the_cancellation_strikes_later() -> None:
    async def main() -> None:
        channel = atoll.Channel[str](0)
        got: list[str] = []

        async def receive() -> None:
            got.append(await channel.arecv())
            await asyncio.sleep(1000)

        waiting = asyncio.create_task(receive())
        await blocked(channel, receivers=1)
        channel.send("from hand to hand")  # has returned: the message is the receiver's
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert got == ["from hand to hand"]

    run(main())


def test_a_task_that_only_receives_has_the_message_as_its_result_although_it_was_cancelled() -> None:
    async def main() -> None:
        channel = atoll.Channel[str](0)
        receiving = asyncio.create_task(channel.arecv())
        await blocked(channel, receivers=1)
        channel.send("from hand to hand")
        receiving.cancel()
        assert await receiving == "from hand to hand"
        sending = asyncio.create_task(channel.asend("back"))
        await blocked(channel, senders=1)
        assert channel.recv_nowait() == "back"
        sending.cancel()
        assert await sending is None

    run(main())


def test_a_timeout_that_comes_with_the_message_of_a_rendezvous_gives_the_message_and_is_over() -> None:
    async def main() -> str:
        channel = atoll.Channel[str](0)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:
            # Both in one turn of the loop: the message is handed over, and the time is up.
            loop.call_soon(channel.send, "in time")
            loop.call_soon(limit.reschedule, 0)
            message = await channel.arecv()
        for _ in range(5):
            await asyncio.sleep(0)  # nothing strikes any more
        return message

    assert run(main()) == "in time"


@pytest.mark.slow
def test_coroutines_in_many_hosts_lose_and_double_nothing_while_they_are_cancelled() -> None:
    async def produce(sender: atoll.Sender[int], first: int) -> list[int]:
        import asyncio
        import random

        chance, sent = random.Random(first), []
        for number in range(first, first + 200):
            sending = asyncio.ensure_future(sender.asend(number))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.3:
                sending.cancel()
            try:
                await sending
                sent.append(number)
            except asyncio.CancelledError:
                pass
        return sent

    async def consume(receiver: atoll.Receiver[int], seed: int) -> list[int]:
        import asyncio
        import random

        import atoll

        chance, got = random.Random(seed), []
        while True:
            verb = receiver.arecv() if chance.random() < 0.5 else atoll.aselect(receiver)
            receiving = asyncio.ensure_future(verb)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.3:
                receiving.cancel()
            try:
                message = await receiving
            except asyncio.CancelledError:
                continue
            except atoll.ChannelClosed:
                return got
            got.append(message[1] if isinstance(message, tuple) else message)

    kinds = ("interpreter", "isolate" if atoll.capabilities()["isolate"].available else "interpreter")
    for capacity in (0, 1, 3, None):
        channel = atoll.Channel[int](capacity)
        producers = [atoll.spawn(produce, channel.sender, number * 1000, kind=kinds[number % 2]) for number in range(4)]
        consumers = [atoll.spawn(consume, channel.receiver, number, kind=kinds[number % 2]) for number in range(4)]
        sent = [number for task in producers for number in task.result(timeout=60)]
        channel.close()
        got = [number for task in consumers for number in task.result(timeout=60)]

        assert sorted(got) == sorted(sent), capacity


@pytest.mark.parametrize("capacity", [0, 1, 5, None])
def test_nothing_is_lost_or_doubled_under_a_storm_of_cancellations(capacity: int | None) -> None:
    count = 300
    channel = atoll.Channel[int](capacity)
    chance = random.Random(capacity)

    async def main() -> list[int]:
        got: list[int] = []
        closed = False

        async def receive() -> None:
            nonlocal closed
            while True:
                try:
                    got.append(await channel.arecv())
                except atoll.ChannelClosed:
                    closed = True
                    return

        async def keep_receiving() -> None:
            while not closed:
                receiving = asyncio.create_task(receive())
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)

        await asyncio.gather(*[keep_receiving() for _ in range(4)])
        return got

    def send(channel: atoll.Channel[int], count: int) -> None:
        for number in range(count):
            channel.send(number)
        channel.close()

    sender = atoll.spawn(send, channel, count, kind="interpreter")
    got = run(main())
    sender.result(timeout=60)

    assert sorted(got) == list(range(count))


def test_sends_that_were_cancelled_were_not_sent_and_the_others_were() -> None:
    channel = atoll.Channel[int](1)
    received: list[int] = []
    receiver = threading.Thread(target=lambda: received.extend(channel))
    chance = random.Random(7)

    async def main() -> list[int]:
        sent = []
        for number in range(2000):
            sending = asyncio.create_task(channel.asend(number))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            sending.cancel()
            outcome = (await asyncio.gather(sending, return_exceptions=True))[0]
            if outcome is None:
                sent.append(number)
        return sent

    receiver.start()
    sent = run(main())
    channel.close()
    receiver.join()

    assert received == sent


def test_a_cancelled_aselect_has_done_none_of_its_cases() -> None:
    async def main() -> None:
        empty, full = atoll.Channel[int](1), atoll.Channel[Any](1)
        full.send("inside")
        waiting = asyncio.create_task(atoll.aselect(empty, full.sending("not sent"), atoll.after(1000)))
        await blocked(empty, receivers=1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert full.recv_nowait() == "inside"
        assert full.stats().depth == full.stats().blocked_senders == empty.stats().blocked_receivers == 0

    run(main())

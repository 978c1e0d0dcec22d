"""`asend`, `arecv`, `async for` and `aselect` on real event loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

import atoll


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run *main* on a loop of its own; a test that hangs fails instead."""

    async def within_time() -> T:
        async with asyncio.timeout(60):
            return await main

    return asyncio.run(within_time())


async def blocked(channel: atoll.Channel[Any], receivers: int = 0, senders: int = 0) -> None:
    """Let the loop run until that many wait on the channel."""
    while channel.stats().blocked_receivers < receivers or channel.stats().blocked_senders < senders:
        await asyncio.sleep(0)


@pytest.mark.parametrize("capacity", [0, 1, 64, None])
def test_what_one_coroutine_sends_another_receives_in_order(capacity: int | None) -> None:
    async def main() -> list[int]:
        channel = atoll.Channel[int](capacity)

        async def send() -> None:
            for number in range(200):
                await channel.asend(number)
            channel.close()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            received = group.create_task(collect(channel))
        return received.result()

    assert run(main()) == list(range(200))


async def collect(end: atoll.Channel[int] | atoll.Receiver[int]) -> list[int]:
    return [message async for message in end]


def test_the_ends_of_a_channel_have_the_verbs_that_they_can_do() -> None:
    async def main() -> None:
        channel = atoll.Channel[str](1)
        await channel.sender.asend("ahoy")
        assert await channel.receiver.arecv() == "ahoy"

    run(main())
    assert not hasattr(atoll.Sender, "arecv")
    assert not hasattr(atoll.Receiver, "asend")


def test_arecv_waits_for_a_message_that_a_thread_sends() -> None:
    channel = atoll.Channel[str](1)

    async def main() -> str:
        waiting = asyncio.create_task(channel.arecv())
        await blocked(channel, receivers=1)
        threading.Thread(target=channel.send, args=("from a thread",)).start()
        return await waiting

    assert run(main()) == "from a thread"


def test_asend_waits_for_room_that_a_thread_makes() -> None:
    channel = atoll.Channel[int](1)
    channel.send(1)

    async def main() -> None:
        waiting = asyncio.create_task(channel.asend(2))
        await blocked(channel, senders=1)
        assert await asyncio.to_thread(channel.recv) == 1
        await waiting

    run(main())
    assert channel.recv() == 2


def test_messages_are_shared_out_among_many_receivers_exactly_once() -> None:
    async def main() -> list[int]:
        channel = atoll.Channel[int](3)
        async with asyncio.TaskGroup() as group:
            receivers = [group.create_task(collect(channel)) for _ in range(100)]
            await asyncio.to_thread(channel.send_many, range(5000))
            channel.close()
        return sorted(number for receiver in receivers for number in receiver.result())

    assert run(main()) == list(range(5000))


def test_a_closed_channel_ends_the_wait_of_every_receiver_and_an_async_for() -> None:
    async def main() -> None:
        channel = atoll.Channel[int](1)
        waiting = [asyncio.create_task(channel.arecv()) for _ in range(3)]
        looping = asyncio.create_task(collect(channel))
        await blocked(channel, receivers=4)
        channel.close()
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(error, atoll.ChannelClosed)
        assert await looping == []
        with pytest.raises(atoll.ChannelClosed, match=r"cannot send to channel \d+ \(it is closed\)"):
            await channel.asend(1)

    run(main())


def test_a_poisoned_channel_tells_those_who_wait_the_reason() -> None:
    async def main() -> None:
        channel = atoll.Channel[int](1)
        channel.send(1)
        sending = asyncio.create_task(channel.asend(2))
        await blocked(channel, senders=1)
        channel.poison("the source is corrupt")
        with pytest.raises(atoll.ChannelPoisoned, match="the source is corrupt"):
            await sending
        with pytest.raises(atoll.ChannelPoisoned):
            async for _ in channel:
                pass

    run(main())


def test_an_end_that_was_given_up_is_an_error_for_each_verb() -> None:
    async def main() -> None:
        channel = atoll.Channel[int](1)
        sender, receiver = channel.sender, channel.receiver
        sender.close()
        receiver.close()
        with pytest.raises(atoll.ChannelClosed, match=r"cannot use this Sender"):
            await sender.asend(1)
        with pytest.raises(atoll.ChannelClosed, match=r"cannot use this Receiver"):
            await receiver.arecv()
        with pytest.raises(atoll.ChannelClosed, match=r"cannot use this Receiver"):
            await collect(receiver)
        with pytest.raises(atoll.ChannelClosed):
            await atoll.aselect(receiver)

    run(main())


def test_what_cannot_be_cloned_is_refused_before_anything_is_sent() -> None:
    async def main() -> None:
        channel = atoll.Channel[Any](1)
        with pytest.raises(atoll.CloneError) as caught:
            await channel.asend({"guard": threading.Lock()})
        assert caught.value.path == "message['guard']"
        assert len(channel) == 0

    run(main())


def test_without_an_event_loop_the_verbs_say_what_to_use() -> None:
    channel = atoll.Channel[int](1)
    for verb in (channel.arecv(), channel.asend(1), atoll.aselect(channel)):
        with pytest.raises(RuntimeError, match=r"no asyncio event loop runs in this thread\); use the blocking verb"):
            verb.send(None)


def test_a_hot_loop_of_receives_lets_other_coroutines_run() -> None:
    async def main() -> int:
        channel = atoll.Channel[int](None)
        channel.send_many(range(10_000))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        for _ in range(10_000):
            await channel.arecv()
        counting.cancel()
        return turns

    assert run(main()) >= 10_000 // 64


# aselect ---------------------------------------------------------------------------------------------------------


def test_aselect_takes_what_is_ready_and_tells_which() -> None:
    async def main() -> None:
        empty, full = atoll.Channel[int](1), atoll.Channel[int](1)
        full.send(7)
        assert await atoll.aselect(empty, full) == (full, 7)
        sending = empty.sending(3)
        case, value = await atoll.aselect(full, sending)
        assert case is sending
        assert value is None
        assert empty.recv_nowait() == 3

    run(main())


def test_aselect_waits_for_the_first_of_many_and_leaves_the_others_alone() -> None:
    async def main() -> None:
        channels = [atoll.Channel[int](1) for _ in range(20)]
        full = atoll.Channel[str](1)
        full.send("there")
        waiting = asyncio.create_task(atoll.aselect(*channels, full.sending("no room"), atoll.after(1000)))
        for channel in channels:
            await blocked(channel, receivers=1)
        channels[13].send(5)
        case, value = await waiting
        assert case is channels[13]
        assert value == 5
        assert full.recv_nowait() == "there"
        assert len(full) == 0
        assert all(channel.stats().blocked_receivers == 0 for channel in channels)
        assert full.stats().blocked_senders == 0

    run(main())


def test_a_timer_of_aselect_is_a_case() -> None:
    async def main() -> None:
        timer = atoll.after(0.01)
        case, value = await atoll.aselect(atoll.Channel[int](1), timer, atoll.after(1000), timeout=1000)
        assert case is timer
        assert value is None
        assert (await atoll.aselect(timer))[0] is timer

    run(main())


def test_aselect_times_out_and_takes_a_default() -> None:
    async def main() -> None:
        channel = atoll.Channel[int](1)
        with pytest.raises(TimeoutError, match="none was ready before the timeout"):
            await atoll.aselect(channel, timeout=0.01)
        with pytest.raises(TimeoutError):
            await atoll.aselect(channel, timeout=0)
        assert await atoll.aselect(channel, default="nothing") == (None, "nothing")
        channel.send(1)
        assert await atoll.aselect(channel, timeout=0) == (channel, 1)

    run(main())


def test_aselect_says_which_case_is_closed() -> None:
    async def main() -> None:
        quiet, closing = atoll.Channel[int](1), atoll.Channel[int](1)
        waiting = asyncio.create_task(atoll.aselect(quiet, closing))
        await blocked(closing, receivers=1)
        closing.close()
        with pytest.raises(atoll.ChannelClosed) as caught:
            await waiting
        assert getattr(caught.value, "case", None) is closing

    run(main())


@pytest.mark.parametrize("cases", [(), (3,), (None,)])
def test_aselect_refuses_what_is_no_case(cases: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError), match="cannot select"):
        run(atoll.aselect(*cases))


def test_aselect_refuses_a_timeout_that_is_no_time() -> None:
    with pytest.raises(ValueError, match="timeout=-1"):
        run(atoll.aselect(atoll.Channel[int](1), timeout=-1))

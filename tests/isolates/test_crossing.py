"""Channels join the main interpreter, sub-interpreters and isolates in any mix."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

import atoll

pytestmark = pytest.mark.usefixtures("isolates_here")

KINDS = ("main", "interpreter", "isolate")
PATIENCE = 60.0

type Place = Callable[..., Any]
type Mix = tuple[str, str]

MIXES = [mix for mix in itertools.product(KINDS, KINDS) if "isolate" in mix]
"""Every pair of places of which one is an isolate at least."""


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Any:
    """Start `fn(*args)` on a kind of host; what comes back has `result(timeout)`."""
    pool = ThreadPoolExecutor(8)
    tasks: list[atoll.Task[Any]] = []

    def on(kind: str, fn: Callable[..., Any], *args: Any) -> Future[Any] | atoll.Task[Any]:
        if kind == "main":
            return pool.submit(fn, *args)
        tasks.append(atoll.spawn(fn, *args, kind=kind))
        return tasks[-1]

    yield on
    for task in tasks:
        task.cancel()
        task.join(PATIENCE)
        assert task.done()
    pool.shutdown()


def pass_on(inbox: atoll.Receiver[Any], outbox: atoll.Sender[Any]) -> int:
    """A stage of a pipeline: hand everything on, with one more."""
    count = 0
    for message in inbox:
        outbox.send(message + 1)
        count += 1
    return count


def collect(inbox: atoll.Receiver[Any]) -> list[Any]:
    """Everything until the channel closes."""
    return list(inbox)


def send_all(outbox: atoll.Sender[Any], messages: list[Any]) -> None:
    """Send them one by one; the end closes with the task."""
    for message in messages:
        outbox.send(message)


@pytest.mark.parametrize("order", list(itertools.permutations(KINDS)), ids="-".join)
@pytest.mark.parametrize("capacity", [0, 1, 64, None])
def test_a_pipeline_runs_through_all_three_kinds(start: Place, order: tuple[str, ...], capacity: int | None) -> None:
    channels = [atoll.Channel[int](capacity) for _ in range(4)]
    stages = [
        start(kind, pass_on, inbox.receiver, outbox.sender)
        for kind, (inbox, outbox) in zip(order, itertools.pairwise(channels), strict=True)
    ]
    collected = start("main", collect, channels[-1].receiver)
    for number in range(300):
        channels[0].send(number, timeout=PATIENCE)
    for channel, stage in zip(channels, stages, strict=False):
        channel.close()
        assert stage.result(PATIENCE) == 300
    channels[-1].close()

    assert collected.result(PATIENCE) == [number + 3 for number in range(300)]


VALUES = [
    None, True, -1, 2**200, 1.5, 2 - 3j, "Föhr", "\U0001f3dd" * 100, b"x" * 1_000_000, bytearray(b"reef"),
    (1, [2, {3: {4}}]), frozenset({1, 2}), range(5), slice(1, 2), ..., NotImplemented, "\udc80 lone",
]  # fmt: skip


@pytest.mark.parametrize("mix", MIXES, ids="-".join)
def test_every_type_arrives_as_it_was_sent(start: Place, mix: Mix) -> None:
    there, back = atoll.Channel[Any](4), atoll.Channel[Any](4)
    sender = start(mix[0], send_all, there.sender, VALUES)

    def echo(inbox: atoll.Receiver[Any], outbox: atoll.Sender[Any], count: int) -> None:
        for _ in range(count):
            outbox.send(inbox.recv())

    echoing = start(mix[1], echo, there.receiver, back.sender, len(VALUES))
    arrived = [back.recv(timeout=PATIENCE) for _ in VALUES]
    sender.result(PATIENCE)
    echoing.result(PATIENCE)

    assert arrived == VALUES
    assert [type(value) for value in arrived] == [type(value) for value in VALUES]


def test_identity_and_cycles_inside_a_message_are_kept(start: Place) -> None:
    there, back = atoll.Channel[Any](1), atoll.Channel[Any](1)
    shared: list[Any] = [1]
    cycle: list[Any] = [shared, shared]
    cycle.append(cycle)

    def inspect(inbox: atoll.Receiver[Any], outbox: atoll.Sender[Any]) -> None:
        value = inbox.recv()
        assert value[0] is value[1]
        assert value[2] is value
        outbox.send(value)

    inspecting = start("isolate", inspect, there.receiver, back.sender)
    there.send(cycle)
    value = back.recv(timeout=PATIENCE)
    inspecting.result(PATIENCE)

    assert value[0] is value[1]
    assert value[2] is value


@pytest.mark.parametrize("mix", MIXES, ids="-".join)
def test_an_end_travels_and_is_used_where_it_arrives(start: Place, mix: Mix) -> None:
    ends, answers = atoll.Channel[Any](1), atoll.Channel[str](1)

    def give(ends: atoll.Sender[Any]) -> str:
        import atoll

        mine = atoll.Channel[str](1)
        ends.send((mine.sender, {"also": [mine.sender]}))
        return mine.recv()

    def use(ends: atoll.Receiver[Any], answers: atoll.Sender[str]) -> None:
        sender, more = ends.recv()
        more["also"][0].send("by the end that travelled")
        answers.send(type(sender).__name__)

    giving = start(mix[0], give, ends.sender)
    using = start(mix[1], use, ends.receiver, answers.sender)

    assert giving.result(PATIENCE) == "by the end that travelled"
    assert answers.recv(timeout=PATIENCE) == "Sender"
    using.result(PATIENCE)


@pytest.mark.parametrize("place", KINDS)
def test_select_waits_for_channels_of_all_kinds_at_once(start: Place, place: str) -> None:
    channels = {kind: atoll.Channel[Any](2) for kind in KINDS}

    def choose(inboxes: dict[str, atoll.Receiver[Any]]) -> dict[str, int]:
        import atoll

        sums = dict.fromkeys(inboxes, 0)
        while inboxes:
            by_case = {id(inbox): kind for kind, inbox in inboxes.items()}
            case, value = atoll.select(*inboxes.values(), atoll.after(60))
            kind = by_case[id(case)]
            if value is None:
                del inboxes[kind]
            else:
                sums[kind] += value
        return sums

    choosing = start(place, choose, {kind: channel.receiver for kind, channel in channels.items()})
    messages = [*range(100), None]
    for kind, channel in channels.items():
        start(kind, send_all, channel.sender, messages)

    assert choosing.result(PATIENCE) == dict.fromkeys(KINDS, sum(range(100)))


@pytest.mark.slow
def test_many_senders_and_receivers_of_all_kinds_lose_and_double_nothing(start: Place) -> None:
    shared, counted = atoll.Channel[int](16), atoll.Channel[list[int]](None)

    def take(inbox: atoll.Receiver[int], outbox: atoll.Sender[list[int]]) -> None:
        outbox.send(list(inbox))

    receivers = [start(kind, take, shared.receiver, counted.sender) for kind in KINDS * 2]
    senders = [
        start(kind, send_all, shared.sender, list(range(1000 * number, 1000 * number + 1000)))
        for number, kind in enumerate(KINDS * 2)
    ]
    for task in senders:
        task.result(PATIENCE)
    shared.close()
    for task in receivers:
        task.result(PATIENCE)

    assert sorted(itertools.chain(*counted.recv_many(6))) == list(range(6000))


@pytest.mark.parametrize("mix", MIXES, ids="-".join)
def test_poison_with_its_reason_reaches_the_other_side(start: Place, mix: Mix) -> None:
    channel, ready = atoll.Channel[int](0), atoll.Channel[int](1)

    def wait(inbox: atoll.Receiver[int], ready: atoll.Sender[int]) -> str:
        import atoll

        ready.send(1)
        try:
            inbox.recv()
        except atoll.ChannelPoisoned as error:
            return str(error)
        return "a message"

    def poison(outbox: atoll.Sender[int]) -> None:
        outbox.poison("spring tide")

    waiting = start(mix[0], wait, channel.receiver, ready.sender)
    ready.recv(timeout=PATIENCE)
    start(mix[1], poison, channel.sender).result(PATIENCE)

    assert "spring tide" in waiting.result(PATIENCE)


@pytest.mark.parametrize("other", ["main", "interpreter"])
def test_an_isolate_that_closes_gives_its_ends_back(start: Place, other: str) -> None:
    channel, ready = atoll.Channel[int](4), atoll.Channel[int](1)

    def keep(outbox: atoll.Sender[int], ready: atoll.Sender[int]) -> None:
        import __main__

        __main__.kept = outbox
        outbox.send(1)
        ready.send(1)

    collecting = start(other, collect, channel.receiver)
    with atoll.Interpreter(kind="isolate") as host:
        host.call(keep, channel.sender, ready.sender)
        ready.recv(timeout=PATIENCE)
        del channel

    assert collecting.result(PATIENCE) == [1]


def test_an_exception_of_an_isolate_arrives_as_itself_with_its_traceback() -> None:
    def fail(island: str) -> None:
        raise LookupError("no such island", island)

    with pytest.raises(LookupError) as caught:
        atoll.run(fail, "Atlantis", kind="isolate")

    assert caught.value.args == ("no such island", "Atlantis")
    assert isinstance(caught.value.__cause__, atoll.RemoteTraceback)
    assert "in fail" in str(caught.value.__cause__)


def test_an_exception_of_an_extension_arrives_as_its_own_type() -> None:
    np = pytest.importorskip("numpy")

    def fail() -> None:
        import numpy as np

        np.linalg.inv(np.zeros((3, 3)))

    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        atoll.run(fail, kind="isolate")


def test_an_exception_group_of_an_isolate_arrives_whole() -> None:
    def fail() -> None:
        raise ExceptionGroup("both", [ValueError("one"), KeyError("two")])

    with pytest.raises(ExceptionGroup) as caught:
        atoll.run(fail, kind="isolate")

    assert [type(error) for error in caught.value.exceptions] == [ValueError, KeyError]


def test_what_cannot_be_cloned_is_refused_with_its_path() -> None:
    with pytest.raises(atoll.CloneError, match="generator"):
        atoll.run(lambda: {"reefs": [1, (n for n in "ab")]}, kind="isolate")


def loop(started: atoll.Sender[int]) -> None:
    """Python code that never ends."""
    started.send(1)
    while True:
        pass


def sleep(started: atoll.Sender[int]) -> None:
    """A sleep in C."""
    import time

    started.send(1)
    time.sleep(1000)


def lock(started: atoll.Sender[int]) -> None:
    """A lock that nobody opens."""
    import threading

    closed = threading.Lock()
    closed.acquire()
    started.send(1)
    closed.acquire()


def receive(started: atoll.Sender[int]) -> None:
    """A message that does not come."""
    import atoll

    channel = atoll.Channel[int](0)
    started.send(1)
    channel.recv()


def wait_for_child(started: atoll.Sender[int]) -> None:
    """A child process that goes on."""
    import subprocess

    child = subprocess.Popen(["sleep", "1000"])
    try:
        started.send(1)
        child.wait()
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("work", [loop, sleep, lock, receive, wait_for_child], ids=lambda work: work.__name__)
def test_cancellation_reaches_a_task_of_an_isolate_in(work: Callable[..., Any]) -> None:
    started = atoll.Channel[int](1)
    task = atoll.spawn(work, started.sender, kind="isolate")
    started.recv(timeout=PATIENCE)

    task.cancel()
    task.join(PATIENCE)

    assert task.cancelled()


def test_a_task_group_mixes_kinds_and_the_first_error_ends_all() -> None:
    channel = atoll.Channel[int](0)

    def fail() -> None:
        raise LookupError("no such island")

    with pytest.raises(ExceptionGroup) as caught, atoll.TaskGroup() as group:
        waiting = [group.spawn(collect, channel.receiver, kind=kind) for kind in ("isolate", "interpreter", "isolate")]
        group.spawn(fail, kind="isolate")

    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert all(task.cancelled() for task in waiting)


def test_map_gives_ordered_results_from_isolates() -> None:
    np = pytest.importorskip("numpy")

    def norm(seed: int) -> float:
        import numpy as np

        return float(np.linalg.norm(np.random.default_rng(seed).random(100)))

    expected = [float(np.linalg.norm(np.random.default_rng(seed).random(100))) for seed in range(50)]
    assert list(atoll.map(norm, range(50), kind="isolate")) == pytest.approx(expected)


def test_an_isolate_spawns_tasks_of_its_own() -> None:
    def nested() -> list[int]:
        import atoll

        return [atoll.run(pow, 2, 10), atoll.spawn(pow, 3, 3).result()]

    assert atoll.run(nested, kind="isolate") == [1024, 27]

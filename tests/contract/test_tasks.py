"""What DESIGN promises of tasks holds on a host of any kind."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import atoll
from atoll import Channel

type Spawn = Callable[..., atoll.Task[Any]]


class OwnError(Exception):
    def __init__(self, *, level: int) -> None:
        super().__init__(f"level {level}")
        self.level = level


def spin(started: atoll.Sender[int]) -> None:
    started.send(1)
    while True:
        pass


def fail_with_own_error() -> None:
    raise OwnError(level=3)


def test_arguments_are_cloned_not_shared(spawn: Spawn) -> None:
    def append(numbers: list[int]) -> list[int]:
        numbers.append(4)
        return numbers

    numbers = [1, 2, 3]
    assert spawn(append, numbers).result(timeout=30) == [1, 2, 3, 4]
    assert numbers == [1, 2, 3]


def test_identity_and_cycles_are_kept_inside_the_arguments(spawn: Spawn) -> None:
    def look(graph: list[Any]) -> bool:
        return graph[0] is graph[1] and graph[2] is graph

    inner: list[Any] = []
    graph = [inner, inner]
    graph.append(graph)
    assert spawn(look, graph).result(timeout=30)


def test_the_original_exception_reaches_the_caller_with_the_remote_traceback(spawn: Spawn) -> None:
    error = spawn(fail_with_own_error).exception(timeout=30)
    assert isinstance(error, OwnError)
    assert error.level == 3
    assert "fail_with_own_error" in str(error.__cause__)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, RecursionError, MemoryError])
def test_no_exception_ends_more_than_its_task(spawn: Spawn, error: type[BaseException]) -> None:
    def fail(name: str) -> None:
        raise getattr(__import__("builtins"), name)

    assert type(spawn(fail, error.__name__).exception(timeout=30)) is error
    assert spawn(abs, -1).result(timeout=30) == 1


def test_a_computing_task_can_be_cancelled(spawn: Spawn) -> None:
    started: Channel[int] = Channel()
    task = spawn(spin, started.sender)
    started.recv(timeout=30)
    task.cancel()
    task.join(30)
    assert task.cancelled()


@pytest.mark.parametrize("verb", ["recv", "send", "select", "recv_many", "iteration"])
def test_a_task_blocked_in_any_verb_can_be_cancelled(spawn: Spawn, verb: str) -> None:
    def block(verb: str, channel: Channel[int], started: atoll.Sender[int]) -> None:
        started.send(1)
        if verb == "recv":
            channel.recv()
        elif verb == "send":
            channel.send(1)
        elif verb == "select":
            atoll.select(channel.receiver, atoll.after(1000))
        elif verb == "recv_many":
            channel.recv_many(5)
        else:
            for _ in channel:
                pass

    started: Channel[int] = Channel()
    task = spawn(block, verb, Channel[int](0), started.sender)
    started.recv(timeout=30)
    task.cancel()
    task.join(30)
    assert task.cancelled()


def test_a_task_that_waits_for_another_can_be_cancelled(spawn: Spawn) -> None:
    def outer(started: atoll.Sender[int], gate: atoll.Receiver[int]) -> None:
        def inner() -> None:
            started.send(1)
            gate.recv()

        atoll.run(inner)

    started: Channel[int] = Channel()
    gate: Channel[int] = Channel()
    task = spawn(outer, started.sender, gate.receiver)
    started.recv(timeout=30)
    task.cancel()
    task.join(30)
    assert task.cancelled()


def test_tasks_compute_and_block_side_by_side(spawn: Spawn) -> None:
    gate: Channel[int] = Channel()
    blocked = [spawn(gate.receiver.recv) for _ in range(10)]
    computed = [spawn(pow, number, 2) for number in range(10)]
    assert [task.result(timeout=30) for task in computed] == [number * number for number in range(10)]
    gate.send_many(range(10))
    assert sorted(task.result(timeout=30) for task in blocked) == list(range(10))


def test_what_cannot_be_cloned_is_named_on_the_way_in_and_out(spawn: Spawn) -> None:
    with pytest.raises(atoll.CloneError) as caught:
        spawn(print, {"guard": threading.Lock()})
    assert caught.value.path == "args[0]['guard']"
    error = spawn(lambda: [threading.Lock()]).exception(timeout=30)
    assert isinstance(error, atoll.CloneError)
    assert error.path == "result[0]"


def test_the_host_is_not_the_caller(spawn: Spawn) -> None:
    sys.modules["contract_marker"] = sys
    try:
        assert not spawn(lambda: "contract_marker" in sys.modules).result(timeout=30)
    finally:
        del sys.modules["contract_marker"]

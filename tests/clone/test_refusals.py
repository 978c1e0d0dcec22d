"""What cannot be cloned is refused whole, with the path of the culprit and a way out."""

from __future__ import annotations

import queue
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, Never

import pytest

import atoll


class Plain:
    """A class of the user's that will not be taken apart."""

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("no")


def numbers() -> Iterator[int]:
    yield 1


CULPRIT = Plain()
REGISTER = "say how it is cloned with atoll.register(), or send its fields as a dict instead"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (CULPRIT, "value"),
        ([1, [2, CULPRIT]], "value[1][1]"),
        ((1, (CULPRIT,)), "value[1][0]"),
        ({"jobs": [0, 1, 2, {"source": CULPRIT}]}, "value['jobs'][3]['source']"),
        ({1: {None: {(1, "a"): CULPRIT}}}, "value[1][None][(1, 'a')]"),
        ({"a": 1, CULPRIT: 2}, "value.keys()[1]"),
        ({"a": 1, ("b", CULPRIT): 2}, "value.keys()[1][1]"),
        ([{CULPRIT}], "value[0]{...}"),
        ([frozenset({(CULPRIT,)})], "value[0]{...}[0]"),
        (slice(1, [CULPRIT]), "value.stop[0]"),
        ({"it's": {'"': CULPRIT}}, """value["it's"]['"']"""),
        ({"k" * 1000: CULPRIT}, f"value['{'k' * 59}…]"),
    ],
)
def test_the_error_names_the_path_of_the_culprit(value: object, path: str) -> None:
    with pytest.raises(atoll.CloneError) as caught:
        atoll.clone(value)
    assert caught.value.path == path
    assert caught.value.type_name == "Plain"
    assert str(caught.value).startswith(f"cannot clone {path} (Plain); ")


def test_the_error_is_a_type_error_with_its_own_code() -> None:
    with pytest.raises(TypeError) as caught:
        atoll.clone(CULPRIT)
    assert isinstance(caught.value, atoll.CloneError)
    assert caught.value.code == "clone_error"


@pytest.mark.parametrize(
    ("culprit", "type_name", "hint"),
    [
        (numbers(), "generator", "send list(source) instead"),
        (map(str, [1]), "map", "send list(source) instead"),
        ({}.keys(), "dict_keys", "send list(source) instead"),
        (numbers.__code__, "code", "send the source text instead"),
        (threading.Lock(), "lock", "let tasks take turns through a channel instead"),
        (queue.Queue(), "Queue", "send an atoll.Channel instead"),
        (threading.Event(), "Event", "send a message through a channel instead"),
        (threading.current_thread(), "_MainThread", REGISTER),
        (sys._getframe(), "frame", REGISTER),
        (Plain(), "Plain", REGISTER),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_error_says_what_to_send_instead(culprit: object, type_name: str, hint: str) -> None:
    with pytest.raises(atoll.CloneError) as caught:
        atoll.clone({"jobs": [{"source": culprit}]})
    assert (caught.value.type_name, caught.value.hint) == (type_name, hint)


def test_an_open_socket_is_refused_with_advice() -> None:
    with socket.socket() as unconnected, pytest.raises(atoll.CloneError, match="connect there"):
        atoll.clone([unconnected])


def test_the_hint_calls_a_nameless_culprit_by_its_type() -> None:
    with pytest.raises(atoll.CloneError) as caught:
        atoll.clone([[numbers()]])
    assert caught.value.hint == "send list(generator) instead"


def test_containers_may_be_nested_ten_thousand_deep_and_no_deeper() -> None:
    deep: list[Any] = []
    for _ in range(9_999):
        deep = [deep]
    copy = atoll.clone(deep)
    for _ in range(9_999):
        (copy,) = copy
    assert copy == []
    with pytest.raises(atoll.CloneError, match="nested 10000 deep") as caught:
        atoll.clone([deep])
    assert len(caught.value.path) < 200


def test_keys_may_be_nested_a_hundred_deep_and_no_deeper() -> None:
    key: tuple[Any, ...] = ()
    for _ in range(99):
        key = (key,)
    assert atoll.clone({key: 1}) == {key: 1}
    assert atoll.clone([[{key}]]) == [[{key}]]
    for value in ({(key,): 1}, [{(key,)}], {frozenset({key}): 1}):
        with pytest.raises(atoll.CloneError, match="nested 100 deep"):
            atoll.clone(value)
    assert atoll.clone({1: (key,)}) == {1: (key,)}


def test_a_thread_with_a_tiny_stack_clones_the_deepest_graph() -> None:
    deep: list[Any] = []
    for _ in range(9_999):
        deep = [deep]
    depths = []

    def work() -> None:
        copy = atoll.clone(deep)
        depth = 0
        while copy:
            (copy,) = copy
            depth += 1
        depths.append(depth)

    before = threading.stack_size(64 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert depths == [9_999]


class Trap:
    """An object that refuses, and whose every other method would show that it was called."""

    def __init__(self) -> None:
        self.armed = False

    def _spring(self) -> None:
        if self.armed:
            raise AssertionError("a method of the user's was called")

    def __hash__(self) -> int:
        self._spring()
        return 1

    def __eq__(self, other: object) -> bool:
        self._spring()
        return self is other

    def __repr__(self) -> str:
        self._spring()
        return "Trap()"

    def __reduce_ex__(self, protocol: object) -> str | tuple[Any, ...]:
        raise TypeError("it stays here")

    def __len__(self) -> int:
        self._spring()
        return 1

    def __iter__(self) -> Iterator[int]:
        self._spring()
        return iter([1])


def test_no_other_method_of_the_culprit_is_called() -> None:
    trap = Trap()
    values: list[object] = [trap, [trap], {trap: 1}, {"k": trap}, {trap}, {(1, trap): [1]}]
    trap.armed = True
    for value in values:
        with pytest.raises(atoll.CloneError):
            atoll.clone(value)
    trap.armed = False


def test_a_refused_message_is_not_half_sent() -> None:
    channel: atoll.Channel[object] = atoll.Channel(8)
    with pytest.raises(atoll.CloneError) as caught:
        channel.send([1, 2, {"x": Plain()}])
    assert caught.value.path == "message[2]['x']"
    assert len(channel) == 0
    assert channel.stats().sent == 0
    channel.send("next")
    assert channel.recv() == "next"


def test_a_refused_message_leaks_nothing() -> None:
    value = {"list": [list(range(100)) for _ in range(50)], "text": ["x" * 100] * 3, "bad": Plain()}
    for _ in range(10):
        with pytest.raises(atoll.CloneError):
            atoll.clone(value)
    before = sys.getallocatedblocks()
    for _ in range(200):
        try:
            atoll.clone(value)
        except atoll.CloneError:
            pass
    assert sys.getallocatedblocks() - before < 200


def test_a_clone_that_is_dropped_leaks_nothing() -> None:
    shared = [1.5, {"k": (1, 2)}]
    value = {"a": [shared, shared], "b": {1.5, "x"}, "c": frozenset({(1, 2)}), "d": slice(1.5, [2]), "e": range(2**70)}
    # Python's own stores of unused objects fill up first.
    for _ in range(500):
        atoll.clone(value)
    before = sys.getallocatedblocks()
    for _ in range(2_000):
        atoll.clone(value)
    assert sys.getallocatedblocks() - before < 100


def test_containers_that_others_change_meanwhile_never_crash() -> None:
    stop = threading.Event()
    numbers = list(range(100))
    table: dict[object, object] = {"numbers": numbers}
    members = {1}
    data = bytearray(100)

    def disturb() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            numbers.append(turn)
            del numbers[: turn % 50]
            table[turn % 97] = [turn]
            table.pop((turn * 7) % 97, None)
            members.add(turn % 1000)
            members.discard((turn * 3) % 1000)
            data.extend(b"x" * (turn % 10))
            del data[: turn % 10]

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(3000):
            copy = atoll.clone([numbers, table, members, data])
            assert copy[1]["numbers"] is copy[0]
    finally:
        stop.set()
        thread.join()


def test_clone_takes_exactly_one_value() -> None:
    with pytest.raises(TypeError):
        atoll.clone()
    with pytest.raises(TypeError):
        atoll.clone(1, 2)

"""Memory that nobody may write to is not copied again when it is sent on: whoever receives it sees the same bytes."""

from __future__ import annotations

import gc
import pickle
from typing import Any

import pytest
from tests.kinds import KINDS, skip_unless_available

import atoll
from atoll import _native

LARGE = 1 << 20


def frozen(data: bytes) -> Any:
    memory = _native.clone(pickle.PickleBuffer(data))
    assert type(memory) is _native.Memory
    return memory


def address(memory: Any) -> int:
    import numpy

    found: int = numpy.frombuffer(memory, dtype="u1").__array_interface__["data"][0]
    return found


def send_on(channel: atoll.Channel[Any], memory: Any) -> None:
    channel.send(pickle.PickleBuffer(memory))


def test_frozen_memory_is_shared_by_all_that_receive_it() -> None:
    memory = frozen(bytes(LARGE))
    copies: list[Any] = [_native.clone(pickle.PickleBuffer(memory)) for _ in range(3)]
    assert {address(copy) for copy in copies} == {address(memory)}
    assert all(memoryview(copy).readonly for copy in copies)


def test_frozen_memory_is_shared_with_isolates() -> None:
    skip_unless_available("isolate")
    memory = frozen(b"x" * LARGE)
    with atoll.Interpreter("isolate") as host:
        assert host.call(address, pickle.PickleBuffer(memory)) == address(memory)


@pytest.mark.parametrize("kind", KINDS)
def test_shared_memory_outlives_who_made_it(kind: str) -> None:
    skip_unless_available(kind)
    memory = frozen(b"y" * LARGE)
    channel: atoll.Channel[Any] = atoll.Channel(1)
    with atoll.Interpreter(kind) as host:
        host.call(send_on, channel, pickle.PickleBuffer(memory))
    del memory
    gc.collect()
    assert bytes(channel.recv()) == b"y" * LARGE


def test_memory_that_may_be_written_to_is_copied() -> None:
    memory: Any = _native.clone(pickle.PickleBuffer(bytearray(LARGE)))
    copy: Any = _native.clone(pickle.PickleBuffer(memory))
    memoryview(memory)[0] = 1
    assert memoryview(copy)[0] == 0

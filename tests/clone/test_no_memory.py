"""Running out of memory anywhere in a clone raises MemoryError and leaves nothing behind."""

from __future__ import annotations

import gc
import sys

import pytest

import atoll

testcapi = pytest.importorskip("_testcapi", reason="CPython's own test module is not installed")

MOST_ALLOCATIONS = 200


def value() -> dict[object, object]:
    loop: tuple[list[object], float] = ([], 1.5)
    loop[0].append(loop)
    return {
        "int": 2**100,
        "text": ["é" * 20, "\u0100" * 20, "long text " * 10],
        "data": (b"x" * 100, bytearray(b"y" * 100)),
        "numbers": [1.5, 2j, {"deep": (1.5, {2.5}, frozenset({(3.5,)}))}],
        "spans": [range(2**70), slice(1.5, [2.5])],
        "loop": loop,
        "shared": [[1.5]] * 3,
        "channel": atoll.Channel(1),
    }


def fail_each_allocation(original: object) -> int:
    """Clone once for each allocation of Python memory, which fails; how many clones that made fail."""
    failures = 0
    for number in range(MOST_ALLOCATIONS):
        testcapi.set_nomemory(number, number + 1)
        try:
            atoll.clone(original)
        except MemoryError:
            failures += 1
        finally:
            testcapi.remove_mem_hooks()
    return failures


def test_each_failing_allocation_raises_memory_error() -> None:
    assert 20 < fail_each_allocation(value()) < MOST_ALLOCATIONS


def test_failing_allocations_leak_nothing() -> None:
    original = value()
    fail_each_allocation(original)
    grown = []
    for _ in range(4):
        gc.collect()
        before = sys.getallocatedblocks()
        fail_each_allocation(original)
        gc.collect()
        grown.append(sys.getallocatedblocks() - before)
    # A leak shows in every round, once for each of some thirty failures; what Python keeps for later use does not.
    assert min(grown) < 20


def test_failing_allocations_release_channel_ends() -> None:
    channel: atoll.Channel[int] = atoll.Channel(1)
    before = channel.stats()
    fail_each_allocation([channel, channel.sender, channel.receiver, [1.5], {"key": 2.5}])
    gc.collect()
    after = channel.stats()
    assert (after.senders, after.receivers) == (before.senders, before.receivers)

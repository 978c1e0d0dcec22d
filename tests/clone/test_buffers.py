"""Memory: arrays of any library cross without a stream of bytes in between, and arrive writable."""

from __future__ import annotations

import array
import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from tests.kinds import KINDS, skip_unless_available

import atoll

LARGE = 200_000


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


@pytest.mark.parametrize("size", [0, 1, 1000, 65_535, 65_536, LARGE])
def test_memory_of_any_size_arrives(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    view = memoryview(bytearray(data[:size]))
    copy = atoll.clone(view)
    assert copy == view
    assert not copy.readonly
    assert atoll.clone(memoryview(data[:size])).readonly
    assert bytes(atoll.clone(pickle.PickleBuffer(data[:size]))) == data[:size]
    numbers = array.array("B", data[:size])
    assert atoll.clone(numbers) == numbers


def test_the_copy_is_the_receivers_own() -> None:
    original = memoryview(bytearray(LARGE))
    copy = atoll.clone(original)
    copy[0] = 7
    assert (original[0], copy[0]) == (0, 7)


def test_two_views_of_one_object_share_what_was_one() -> None:
    view = memoryview(bytearray(LARGE))
    first, second = atoll.clone([view, view])
    assert first is second


def test_memory_lives_as_long_as_any_object_over_it_and_no_longer() -> None:
    view = memoryview(bytearray(b"\x05" * 20_000_000))
    part = atoll.clone(view)[100:200]
    gc.collect()
    assert part.tolist() == [5] * 100
    before = resident_bytes()
    for _ in range(20):
        atoll.clone(view)
    assert resident_bytes() - before < 100_000_000


def test_memory_in_a_message_that_nobody_takes_is_freed() -> None:
    before = resident_bytes()
    for _ in range(20):
        channel: atoll.Channel[Any] = atoll.Channel(2)
        channel.send(memoryview(bytearray(20_000_000)))
        channel.poison()
    assert resident_bytes() - before < 100_000_000


def test_memory_in_a_message_that_is_refused_is_freed() -> None:
    view = memoryview(bytearray(20_000_000))
    before = resident_bytes()
    for _ in range(20):
        with pytest.raises(atoll.CloneError):
            atoll.clone([view, (number for number in ())])
    assert resident_bytes() - before < 100_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_memory_to_a_worker_and_back_takes_two_copies_at_its_peak(
    run_child: Callable[[str], tuple[int, str, str]], kind: str
) -> None:
    skip_unless_available(kind)
    code, out, err = run_child(
        f"""
        import atoll

        def peak_bytes():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

        def same(view):
            return view

        if __name__ == "__main__":
            size = 100_000_000
            view = memoryview(bytearray(b"x" * size))
            atoll.run(same, view[:100_000], kind={kind!r})
            before = peak_bytes()
            for _ in range(4):
                assert atoll.run(same, view, kind={kind!r})[size // 2] == ord("x")
            print((peak_bytes() - before) / size)
        """
    )
    assert code == 0, err
    assert float(out) < 2.1


def test_a_reason_with_large_memory_is_refused() -> None:
    channel: atoll.Channel[int] = atoll.Channel(1)
    with pytest.raises(TypeError, match="large arrays"):
        channel.poison(memoryview(bytearray(LARGE)))


def test_numpy_arrays_and_scalars_arrive() -> None:
    np = pytest.importorskip("numpy")
    large = np.arange(LARGE, dtype="f8")
    fortran = np.asfortranarray(large.reshape(400, 500))
    structured = np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])
    for value in (large, fortran, large[::2], large.reshape(2, -1), structured, np.array([1, "a", None], dtype=object)):
        copy = atoll.clone(value)
        assert (copy == value).all()
        assert (copy.dtype, copy.shape, copy.flags.writeable) == (value.dtype, value.shape, True)
    assert atoll.clone(fortran).flags.f_contiguous
    large.flags.writeable = False
    assert not atoll.clone(large).flags.writeable
    for scalar in (np.float32(1.5), np.int8(-3), np.datetime64("2026-01-01"), np.bool_(True)):
        copy = atoll.clone(scalar)
        assert (copy, type(copy)) == (scalar, type(scalar))
    first, second = atoll.clone([fortran, fortran])
    assert first is second


def test_data_frames_and_tables_arrive() -> None:
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": range(LARGE), "b": ["x", "y"] * (LARGE // 2), "c": pd.Categorical(["u"] * LARGE)})
    pd.testing.assert_frame_equal(atoll.clone(frame), frame)
    polar = pl.DataFrame({"a": range(LARGE), "s": ["x"] * LARGE})
    assert atoll.clone(polar).equals(polar)
    table = pa.table({"a": list(range(LARGE)), "s": ["x"] * LARGE})
    assert atoll.clone(table).equals(table)
    assert atoll.clone(table.schema) == table.schema

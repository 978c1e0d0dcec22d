"""Large arrays are shared with the workers: one copy for all, that nobody may write to."""

from __future__ import annotations

import datetime
import gc
import os
from pathlib import Path
from typing import Any

import pytest

joblib = pytest.importorskip("joblib")
np = pytest.importorskip("numpy")
from joblib import Parallel, delayed, parallel_config  # noqa: E402

from atoll._shared_arrays import Snapshots  # noqa: E402

LARGE = 300_000
"""Numbers in an array of two megabytes and more."""


def place(array: Any) -> tuple[int, int, bool]:
    """In which interpreter the array lies where, and whether one may write there."""
    from atoll import _native

    return _native.current_host(), array.__array_interface__["data"][0], array.flags.writeable


def total(array: Any, *_: Any) -> float:
    return float(array.sum())


def describe(array: Any) -> tuple[Any, ...]:
    return array.dtype.str, array.shape, array.flags.c_contiguous, array.flags.f_contiguous, float(array[-1].sum())


def meet(array: Any) -> tuple[int, int, bool]:
    """As `place`, but ends only when another worker has come here, too."""
    import time

    time.sleep(0.05)
    return place(array)


def test_two_workers_see_an_array_at_the_same_address(backend: str) -> None:
    array = np.arange(LARGE, dtype=float)
    with parallel_config(backend=backend, n_jobs=2):
        found = set(Parallel(batch_size=1)(delayed(meet)(array) for _ in range(8)))
    assert len({host for host, _, _ in found}) == 2
    assert len({address for _, address, _ in found}) == 1
    assert {writeable for _, _, writeable in found} == {False}


def test_what_a_task_sees_is_what_the_array_held_when_the_call_began(backend: str) -> None:
    array = np.ones(LARGE)
    results = Parallel(n_jobs=2, backend=backend, return_as="generator", pre_dispatch="all", batch_size=1)(
        delayed(total)(array) for _ in range(20)
    )
    array[:] = 0
    assert set(results) == {float(LARGE)}


def test_the_next_call_sees_what_the_array_holds_by_then(backend: str) -> None:
    array = np.ones(LARGE)
    with Parallel(n_jobs=2, backend=backend) as parallel:
        assert parallel(delayed(total)(array) for _ in range(2)) == [LARGE, LARGE]
        array[:] = 2
        assert parallel(delayed(total)(array) for _ in range(2)) == [2 * LARGE, 2 * LARGE]


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(2.0 * LARGE).reshape(2, -1),
        lambda: np.asfortranarray(np.arange(2.0 * LARGE).reshape(2, -1)),
        lambda: np.arange(4.0 * LARGE).reshape(2, -1)[:, ::2],
        lambda: np.arange(2.0 * LARGE).reshape(2, -1).astype(">f4"),
        lambda: np.full((2, LARGE), 3, dtype=np.int8),
        lambda: np.zeros((2, LARGE), dtype=bool),
    ],
    ids=["C", "Fortran", "strided", "big-endian", "bytes", "booleans"],
)
def test_arrays_of_every_layout_arrive_as_they_are(backend: str, make: Any) -> None:
    array = make()
    expected = describe(array if array.flags.forc else np.ascontiguousarray(array))
    assert Parallel(n_jobs=2, backend=backend, max_nbytes="100K")([delayed(describe)(array)] * 2) == [expected] * 2


def test_dates_and_records_are_shared(backend: str) -> None:
    def last(array: Any) -> tuple[Any, bool]:
        return array[-1].item(), array.flags.writeable

    dates = np.full(LARGE, np.datetime64("2026-11-20"))
    records = np.zeros(LARGE, dtype=[("a", "i4"), ("b", "f8")])
    assert Parallel(n_jobs=2, backend=backend)([delayed(last)(dates), delayed(last)(records)]) == [
        (datetime.date(2026, 11, 20), False),
        ((0, 0.0), False),
    ]


def test_arrays_inside_of_other_objects_are_shared(backend: str) -> None:
    class Model:
        def __init__(self, weights: Any) -> None:
            self.weights = weights

    def look(model: Any, *more: Any) -> set[bool]:
        return {model.weights.flags.writeable, *(array.flags.writeable for array in more[0]["arrays"])}

    array = np.ones(LARGE)
    assert Parallel(n_jobs=2, backend=backend)([delayed(look)(Model(array), {"arrays": [array]})] * 2) == [{False}] * 2


def test_small_arrays_are_copied_and_may_be_written_to(backend: str) -> None:
    found = Parallel(n_jobs=2, backend=backend)(delayed(place)(np.ones(10)) for _ in range(2))
    assert all(writeable for _, _, writeable in found)


@pytest.mark.parametrize("settings", [{"max_nbytes": None}, {"mmap_mode": None}, {"mmap_mode": "c"}])
def test_whoever_asks_for_it_gets_a_copy_to_write_to(backend: str, settings: dict[str, Any]) -> None:
    array = np.ones(LARGE)
    found = Parallel(n_jobs=2, backend=backend, batch_size=1, **settings)(delayed(place)(array) for _ in range(2))
    assert all(writeable for _, _, writeable in found)


def test_a_shared_array_that_is_returned_may_be_written_to(backend: str) -> None:
    def same(array: Any) -> Any:
        return array

    array = np.arange(LARGE, dtype=float)
    returned = Parallel(n_jobs=2, backend=backend)([delayed(same)(array)] * 2)
    returned[0][0] = 7
    assert (returned[1] == array).all()
    assert array[0] == 0


def test_arrays_of_objects_are_cloned(backend: str) -> None:
    array = np.array([{"n": n} for n in range(200_000)], dtype=object)
    assert Parallel(n_jobs=2, backend=backend)([delayed(len)(array)] * 2) == [200_000] * 2


def test_tasks_write_to_a_file_that_is_mapped(backend: str, tmp_path: Path) -> None:
    def fill(output: Any, row: int) -> None:
        output[row] = row

    output = np.memmap(tmp_path / "output", dtype=float, shape=(4, 1000), mode="w+")
    Parallel(n_jobs=2, backend=backend)(delayed(fill)(output, row) for row in range(4))
    assert [row.mean() for row in output] == [0, 1, 2, 3]
    Parallel(n_jobs=2, backend=backend)(delayed(fill)(output[::-1, ::2], row) for row in range(4))
    assert output[:, 0].tolist() == [3, 2, 1, 0]
    assert output[:, 1].tolist() == [0, 1, 2, 3]


def test_snapshots_go_with_their_arrays() -> None:
    snapshots = Snapshots(0)
    array = np.ones(LARGE)
    with snapshots.sharing():
        import atoll

        first, second = atoll.clone(array), atoll.clone([array])[0]
    assert first.__array_interface__["data"] == second.__array_interface__["data"]
    assert len(snapshots) == 1
    del array
    gc.collect()
    assert len(snapshots) == 0
    assert first.sum() == LARGE


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_nothing_stays_of_the_arrays_of_many_calls(backend: str) -> None:
    size = 32 << 20

    def call(number: int) -> None:
        array = np.full(size // 8, float(number))
        assert (
            Parallel(n_jobs=2, backend=backend)(delayed(total)(array, i) for i in range(4))
            == [number * (size // 8)] * 4
        )

    call(0)
    before = resident_bytes()
    for number in range(10):
        call(number)
    assert resident_bytes() - before < 3 * size

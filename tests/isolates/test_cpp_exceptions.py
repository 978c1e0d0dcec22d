"""C++ exceptions inside isolates: thrown in one library, caught in another, many times and in all at once."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.isolates.programs import needs

import atoll

pytestmark = pytest.mark.usefixtures("isolates_here")

THROWER = """
#include <stdexcept>
#include <string>
struct Storm : std::runtime_error { Storm(int force): std::runtime_error("storm " + std::to_string(force)) {} };
extern "C" void sail(int force) { if (force > 7) throw Storm(force); if (force < 0) throw std::out_of_range("calm"); }
"""

CATCHER = """
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
extern "C" void sail(int force);
static int attempt(int force, char *text, int size) {
    try { sail(force); return 0; }
    catch (const std::out_of_range &e) { std::strncpy(text, e.what(), size); return 1; }
    catch (const std::exception &e) { std::strncpy(text, e.what(), size); return 2; }
}
extern "C" int sail_and_catch(int force, char *text, int size) { return attempt(force, text, size); }
extern "C" int sail_in_thread(int force, char *text, int size) {
    int result = -1;
    std::exception_ptr kept;
    std::thread([&] { try { sail(force); } catch (...) { kept = std::current_exception(); }
                      result = attempt(force, text, size); }).join();
    if (kept) { try { std::rethrow_exception(kept); } catch (const std::exception &) { result += 10; } }
    return result;
}
"""


def in_all(isolates: list[atoll.Interpreter], work: Callable[..., Any], *args: Any) -> list[Any]:
    """The answers of every isolate and of main, computed at once."""
    with ThreadPoolExecutor(len(isolates)) as pool:
        calls = [pool.submit(host.call, work, *args) for host in isolates]
        here = work(*args)
        return [*[call.result() for call in calls], here]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A C++ library that catches what another one throws."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("fleet")
    for name, source, more in (
        ("thrower", THROWER, []),
        ("catcher", CATCHER, ["-L.", "-lthrower", "-Wl,-rpath,$ORIGIN"]),
    ):
        (folder / f"{name}.cpp").write_text(source)
        command = [compiler, "-shared", "-fPIC", "-O1", "-pthread", "-o", f"lib{name}.so", f"{name}.cpp", *more]
        subprocess.run(command, cwd=folder, check=True)
    return str(folder / "libcatcher.so")


def sail(library: str, entry: str, times: int) -> list[tuple[int, str]]:
    """What comes of sailing in calm, wind and storm, *times* over."""
    import ctypes

    voyage = getattr(ctypes.CDLL(library), entry)
    seen = set()
    for _ in range(times):
        for force in (-1, 3, 9):
            text = ctypes.create_string_buffer(64)
            seen.add((voyage(force, text, 63), text.value.decode()))
    return sorted(seen)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("sail_and_catch", [(0, ""), (1, "calm"), (2, "storm 9")]),
        ("sail_in_thread", [(0, ""), (11, "calm"), (12, "storm 9")]),
    ],
)
def test_exceptions_cross_from_one_library_to_another(
    isolates: list[atoll.Interpreter], fleet: str, entry: str, expected: list[tuple[int, str]]
) -> None:
    assert in_all(isolates, sail, fleet, entry, 200) == [expected] * 3


def test_arrow_reports_its_errors_thousands_of_times(isolates: list[atoll.Interpreter]) -> None:
    needs("pyarrow")

    def work() -> int:
        import pyarrow as pa

        caught = 0
        for _ in range(1000):
            try:
                pa.array(["a"], type=pa.int32())
            except pa.lib.ArrowInvalid:
                caught += 1
            try:
                pa.table({"a": [1]}).column("b")
            except KeyError:
                caught += 1
        return caught

    assert in_all(isolates, work) == [2000] * 3


def test_scipy_turns_exceptions_of_cpp_into_those_of_python(isolates: list[atoll.Interpreter]) -> None:
    needs("scipy")

    def work() -> list[str]:
        import numpy as np
        from scipy import fft, optimize
        from scipy.spatial import KDTree, QhullError
        from scipy.spatial.distance import cdist

        found = []
        attempts = [
            lambda: fft.fft(np.zeros(5), n=-1),
            lambda: cdist(np.zeros((2, 2)), np.zeros((2, 3))),
            lambda: KDTree(np.zeros((3, 2))).query(np.zeros((1, 3))),
            lambda: fft.dct(np.zeros((3, 0))),
        ]
        for attempt in attempts:
            try:
                attempt()
                found.append("nothing")
            except (ValueError, QhullError) as error:
                found.append(f"{type(error).__name__}: {error}")
        infeasible = optimize.linprog([1], A_ub=[[1], [-1]], b_ub=[1, -2])  # HiGHS, a C++ library
        return [*found, str(infeasible.status)]

    first, second, here = in_all(isolates, work)
    assert first == second == here
    assert "nothing" not in here


def test_scikit_learn_turns_exceptions_of_cpp_into_those_of_python(isolates: list[atoll.Interpreter]) -> None:
    needs("scikit-learn")

    def work() -> list[str]:
        import numpy as np
        from sklearn.datasets import load_svmlight_file
        from sklearn.neighbors import KDTree
        from sklearn.svm import SVC

        found = []
        for attempt in (
            lambda: KDTree(np.zeros((0, 3))),
            lambda: SVC(C=-1.0).fit([[0.0], [1.0]], [0, 1]),
            lambda: load_svmlight_file(__import__("io").BytesIO(b"not a number:1")),
        ):
            try:
                attempt()
                found.append("nothing")
            except ValueError as error:
                found.append(type(error).__name__)
        return found

    first, second, here = in_all(isolates, work)
    assert first == second == here
    assert "nothing" not in here


def test_rust_panics_stay_inside_the_extension_that_panicked(isolates: list[atoll.Interpreter]) -> None:
    needs("polars")

    def work() -> list[str]:
        import polars as pl

        found = []
        for attempt in (
            lambda: pl.DataFrame({"a": [1]}).select("b"),
            lambda: pl.Series([1, 2, 3]).reshape((2, 5)),
            lambda: pl.Series(["x"]).cast(pl.Int64),
            lambda: pl.Series([1, 2]).gather([7]),
        ):
            try:
                attempt()
                found.append("nothing")
            except BaseException as error:  # a panic is no Exception
                found.append(type(error).__name__)
        return found

    first, second, here = in_all(isolates, work)
    assert first == second == here
    assert "nothing" not in here

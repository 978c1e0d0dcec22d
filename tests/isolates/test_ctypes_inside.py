"""ctypes inside isolates: the Python API and the C library that it finds are the isolate's own."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

import atoll

pytestmark = pytest.mark.usefixtures("isolates_here")


def runtime_address() -> int:
    """Where the Python that runs this keeps its state."""
    import ctypes

    return ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))


def runtime_address_of_the_whole_process() -> int:
    """The same, by way of `CDLL(None)`."""
    import ctypes

    return ctypes.addressof(ctypes.c_char.in_dll(ctypes.CDLL(None), "_PyRuntime"))


def test_pythonapi_means_the_python_of_the_isolate(isolates: list[atoll.Interpreter]) -> None:
    addresses = [runtime_address(), *[host.call(runtime_address) for host in isolates]]

    assert len(set(addresses)) == 3


def test_cdll_none_means_the_isolate_as_well(isolates: list[atoll.Interpreter]) -> None:
    for host in isolates:
        assert host.call(runtime_address_of_the_whole_process) == host.call(runtime_address)


def test_pythonapi_makes_objects_of_the_isolate(isolate: atoll.Interpreter) -> None:
    def work() -> list[object]:
        import ctypes
        import sys

        api = ctypes.pythonapi
        api.PyList_New.restype = ctypes.py_object
        api.PyUnicode_FromFormat.restype = ctypes.py_object
        empty = api.PyList_New(ctypes.c_ssize_t(0))
        api.PyList_Append.argtypes = [ctypes.py_object, ctypes.py_object]
        api.PyList_Append(empty, sys.intern("reef"))
        text = api.PyUnicode_FromFormat(b"%s of %d", b"island", ctypes.c_int(7))
        api.PyThreadState_Get.restype = ctypes.c_void_p
        return [empty, text, api.PyThreadState_Get() is not None, api.Py_IsInitialized()]

    assert isolate.call(work) == [["reef"], "island of 7", True, 1]


def test_an_error_set_by_the_python_api_is_raised_in_the_isolate(isolate: atoll.Interpreter) -> None:
    def work() -> str:
        import ctypes

        try:
            ctypes.pythonapi.PyErr_SetString(ctypes.py_object(LookupError), b"no such island")
        except LookupError as error:
            return str(error)
        return "nothing raised"

    assert isolate.call(work) == "no such island"


def test_the_environment_of_the_c_library_is_the_isolates(isolate: atoll.Interpreter) -> None:
    def work() -> bytes | None:
        import ctypes
        import os

        os.environ["ATOLL_TEST_TIDE"] = "low"
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_char_p
        return getenv(b"ATOLL_TEST_TIDE")

    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p

    assert isolate.call(work) == b"low"
    assert getenv(b"ATOLL_TEST_TIDE") is None
    assert "ATOLL_TEST_TIDE" not in os.environ


def test_callbacks_from_c_run_in_the_isolate(isolate: atoll.Interpreter) -> None:
    def work() -> list[int]:
        import ctypes

        number = ctypes.POINTER(ctypes.c_int)
        compare = ctypes.CFUNCTYPE(ctypes.c_int, number, number)(lambda left, right: right[0] - left[0])
        values = (ctypes.c_int * 100)(*[(n * 37) % 100 for n in range(100)])
        ctypes.CDLL("libc.so.6").qsort(values, 100, ctypes.sizeof(ctypes.c_int), compare)
        return list(values)

    assert isolate.call(work) == list(range(99, -1, -1))


def test_errno_of_a_call_is_seen_in_the_isolate(isolate: atoll.Interpreter) -> None:
    def work() -> tuple[int, int]:
        import ctypes
        import errno

        library = ctypes.CDLL(None, use_errno=True)
        result = library.open(b"/no/such/file", 0)
        return result, ctypes.get_errno() - errno.ENOENT

    assert isolate.call(work) == (-1, 0)


def test_memory_of_main_is_seen_from_an_isolate_at_its_address(isolate: atoll.Interpreter) -> None:
    block = (ctypes.c_int * 1000)(*range(1000))

    def work(address: int) -> int:
        import ctypes

        there = (ctypes.c_int * 1000).from_address(address)
        there[0] = 4711
        return sum(there)

    assert isolate.call(work, ctypes.addressof(block)) == sum(range(1000)) + 4711
    assert block[0] == 4711


def test_memory_of_one_side_may_be_freed_by_the_other(isolate: atoll.Interpreter) -> None:
    def work(address: int) -> int:
        import ctypes

        library = ctypes.CDLL(None)
        library.free.argtypes = [ctypes.c_void_p]
        library.free(address)
        library.malloc.restype = ctypes.c_void_p
        library.malloc.argtypes = [ctypes.c_size_t]
        return library.malloc(100_000)

    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.free.argtypes = [ctypes.c_void_p]
    for _ in range(50):
        library.free(isolate.call(work, library.malloc(ctypes.c_size_t(100_000))))


def test_a_library_asked_for_globally_is_loaded(isolate: atoll.Interpreter) -> None:
    def work() -> float:
        import ctypes

        library = ctypes.CDLL("libm.so.6", ctypes.RTLD_GLOBAL)
        library.cos.restype = ctypes.c_double
        library.cos.argtypes = [ctypes.c_double]
        return library.cos(0.0)

    assert isolate.call(work) == 1.0


def test_a_library_that_is_not_there_is_an_os_error(isolate: atoll.Interpreter, tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"\x7fELF but no more")

    def work(name: str) -> str:
        import ctypes

        try:
            ctypes.CDLL(name)
        except OSError as error:
            return str(error)
        return "loaded"

    assert "broken.so" in isolate.call(work, str(broken))
    assert "no such thing" in isolate.call(work, "/no such thing.so")
    assert isolate.call(abs, -1) == 1

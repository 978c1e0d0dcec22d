"""InterpreterPoolExecutor on every Python."""

from __future__ import annotations

import asyncio
import os

import pytest

from atoll.compat import interpreters
from atoll.compat.futures import BrokenInterpreterPool, InterpreterPoolExecutor


def test_calls_run_in_interpreters_of_their_own():
    with InterpreterPoolExecutor(2) as pool:
        numbers = set(pool.map(_number, range(8)))

        assert numbers
        assert 0 not in numbers
        assert len(numbers) <= 2
    assert not numbers & {interp.id for interp in interpreters.list_all()}


def _number(_):
    return interpreters.get_current().id


def test_an_exception_arrives_as_itself_with_the_remote_traceback_as_its_cause():
    with InterpreterPoolExecutor(1) as pool:
        future = pool.submit(_fail)
        with pytest.raises(FileNotFoundError, match="gone") as caught:
            future.result()

    assert isinstance(caught.value.__cause__, interpreters.ExecutionFailed)
    assert "in _fail" in str(caught.value.__cause__)


def _fail():
    raise FileNotFoundError(2, "gone")


def test_the_initializer_runs_once_in_each_interpreter():
    read, write = os.pipe()
    with InterpreterPoolExecutor(1, initializer=os.write, initargs=(write, b"i")) as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
    os.close(write)

    assert os.read(read, 10) == b"i"
    os.close(read)


def test_an_initializer_that_fails_breaks_the_pool(caplog):
    with InterpreterPoolExecutor(1, initializer=_fail) as pool:
        future = pool.submit(abs, -1)
        with pytest.raises(BrokenInterpreterPool):
            future.result()
        with pytest.raises(BrokenInterpreterPool):
            pool.submit(abs, -1)
    assert "Exception in initializer" in caplog.text


def test_asyncio_runs_functions_in_it():
    async def main():
        with InterpreterPoolExecutor(1) as pool:
            return await asyncio.get_running_loop().run_in_executor(pool, pow, 2, 10)

    assert asyncio.run(main()) == 1024


def test_scripts_are_refused_like_in_the_standard_library():
    with InterpreterPoolExecutor(1) as pool, pytest.raises(TypeError, match="scripts"):
        pool.submit("pass")

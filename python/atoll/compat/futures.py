"""`concurrent.futures.InterpreterPoolExecutor` of Python 3.14, with the interpreters of `atoll.compat`.

For new code use `atoll.Pool`: it takes closures, shares its work out better, and shows what runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, thread
from itertools import count
from typing import Any

from . import interpreters

__all__ = ["BrokenInterpreterPool", "InterpreterPoolExecutor"]


if hasattr(thread.ThreadPoolExecutor, "BROKEN"):

    class BrokenInterpreterPool(thread.BrokenThreadPool):
        """
        Raised when a worker thread in an InterpreterPoolExecutor failed initializing.
        """

else:  # before 3.14 a pool of threads has one class for this, whatever is built on it
    BrokenInterpreterPool = thread.BrokenThreadPool  # type: ignore[misc, assignment, unused-ignore]


class _Crew:
    """What the threads of one pool share; it knows nothing of the pool, which may be collected while they work."""

    def __init__(self, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
        self._initializer = initializer
        self._initargs = initargs
        self._mine = threading.local()
        self._open: list[interpreters.Interpreter] = []

    def start(self) -> None:
        """Give the calling thread an interpreter of its own."""
        self._mine.interpreter = interpreter = interpreters.create()
        if self._initializer is not None:
            try:
                self.run(self._initializer, self._initargs, {})
            except BaseException:
                interpreter.close()
                raise
        self._open.append(interpreter)

    def run(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call in the thread's interpreter; its exception comes out as it is, with an ExecutionFailed as its cause."""
        interpreter: interpreters.Interpreter = self._mine.interpreter
        res, excinfo, exc = interpreter._call_and_keep(fn, args, kwargs, True)
        if excinfo is None:
            return res
        try:
            wrapper = interpreters.ExecutionFailed(excinfo)
            if exc is None:
                raise wrapper
            raise exc from wrapper
        finally:
            del exc, wrapper  # no cycle through this frame

    def close(self) -> None:
        """End all interpreters, once no thread is in any."""
        while self._open:
            self._open.pop().close()


class InterpreterPoolExecutor(thread.ThreadPoolExecutor):
    """An Executor whose threads run their calls in an interpreter of their own each."""

    BROKEN = BrokenInterpreterPool
    _numbers = count()

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        """Initializes a new InterpreterPoolExecutor instance.

        Args:
            max_workers: The maximum number of interpreters that can be used
                to execute the given calls.
            thread_name_prefix: An optional name prefix to give our threads.
            initializer: A callable used to initialize
                each worker interpreter.
            initargs: A tuple of arguments to pass to the initializer.
        """
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._crew = _Crew(initializer, tuple(initargs))
        super().__init__(
            max_workers,
            thread_name_prefix or f"InterpreterPoolExecutor-{next(self._numbers)}",
            self._crew.start,
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submits a callable to be executed with the given arguments, in one of the pool's interpreters."""
        if isinstance(fn, str):
            raise TypeError("scripts not supported")
        return super().submit(self._crew.run, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Clean-up the resources associated with the Executor; see `concurrent.futures.Executor.shutdown`."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._crew.close()

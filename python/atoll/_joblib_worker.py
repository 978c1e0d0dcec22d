"""What joblib's backend runs in its workers: a batch of calls, with what nested calls of `Parallel` are to do.

joblib itself takes a tenth of a second to import. A worker imports it when a task does, not before.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from typing import Any

    from . import _native

    type Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
    type Nested = tuple[str, int, int | None]
    """joblib's name of the backend, its level, and how many jobs it has unless somebody says."""


def prepare(
    threads: dict[str, str], secret: bytes, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> None:
    """Begin a worker.

    *threads* are the variables from which numeric libraries read how many threads to start; with *secret* the proxies
    of a multiprocessing.Manager prove who they are.
    """
    os.environ.update(threads)
    if "numpy" in sys.modules and threads:
        # A used isolate: its libraries have read what the one before wanted.
        try:
            from threadpoolctl import threadpool_limits
        except ImportError:
            pass
        else:
            threadpool_limits(int(next(iter(threads.values()))))
    WhenImported("multiprocessing.process", lambda: _know(secret))
    if initializer is not None:
        initializer(*initargs)


def _know(secret: bytes) -> None:
    from multiprocessing.process import current_process

    current_process().authkey = secret


def make(parcel: _native.Receiver[list[Call]], nested: Nested) -> list[Any]:
    """Make the calls of a batch, one after the other.

    They come in a *parcel*, so that they are unpacked here: what cannot be imported or rebuilt fails this call.
    """
    configs: list[Any] = []
    hook = WhenImported("joblib", lambda: configs.append(_nest(nested)))
    try:
        return [fn(*args, **kwargs) for fn, args, kwargs in parcel.recv_nowait()]
    finally:
        hook.withdraw()
        for config in configs:
            config.unregister()
        _end_processes()


def _nest(nested: Nested) -> Any:
    """Tell joblib what a `Parallel` in this thread is to use unless somebody says."""
    from joblib.parallel import BACKENDS, parallel_config

    name, level, jobs = nested
    return parallel_config(backend=BACKENDS[name](nesting_level=level), n_jobs=jobs)


def _end_processes() -> None:
    """End those that a task had loky start: the thread that waits for them would keep this worker from its end."""
    loky = sys.modules.get("joblib.externals.loky.reusable_executor")
    executor = getattr(loky, "_executor", None)
    if executor is not None:
        executor.shutdown(wait=True, kill_workers=True)


class WhenImported:
    """Does something once a module is imported: now, if it is."""

    def __init__(self, name: str, do: Callable[[], object]) -> None:
        self._name = name
        self._do = do
        if name in sys.modules:
            do()
        else:
            sys.meta_path.insert(0, self)

    def withdraw(self) -> None:
        """Wait for it no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        if name != self._name:
            return None
        from importlib.machinery import PathFinder

        self.withdraw()
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_do(module: Any) -> None:
                execute(module)
                self._do()

            setattr(spec.loader, "exec_module", execute_and_do)  # noqa: B010 (a method, to type checkers)
        return spec

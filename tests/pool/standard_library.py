"""CPython's own tests of executors, with `atoll.Pool` as the executor. Run by `test_standard_library`, in a child.

    python -m tests.pool.standard_library KIND

What is left out, and why, is in `LEFT_OUT`.
"""

from __future__ import annotations

import sys
import unittest
from typing import Any

from test.test_concurrent_futures import executor, test_as_completed, test_init, test_shutdown, test_wait, util

import atoll

LEFT_OUT = {
    "test_interpreter_shutdown": "its script imports the executor from concurrent.futures; see test_processes",
    "test_submit_after_interpreter_shutdown": "as above",
    "test_hang_gh83386": "as above",
    "test_cancel_futures": "wants a call to have begun at shutdown; here no worker may be up by then",
}


class StandardPool(atoll.Pool):
    """The Pool with the signature of the executors of the standard library."""

    kind = "auto"

    def __init__(self, max_workers: int | None = None, **options: Any) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError("max_workers must be greater than 0")
        super().__init__(max_workers, self.kind, **options)


class PoolMixin(util.ExecutorMixin):
    """What CPython's tests take for a kind of executor."""

    worker_count = 3
    executor_type = StandardPool

    def create_event(self) -> None:
        self.skipTest("an event cannot be sent to another interpreter")


def suite(kind: str) -> unittest.TestSuite:
    """All that applies."""
    StandardPool.kind = kind
    whole = unittest.TestSuite()
    for mixin in (
        executor.ExecutorTest,
        test_as_completed.AsCompletedTests,
        test_wait.WaitTests,
        test_shutdown.ExecutorShutdownTest,
        test_init.InitializerMixin,
        test_init.FailingInitializerMixin,
    ):
        bases = (mixin, PoolMixin, util.BaseTestCase)
        if issubclass(mixin, util.ExecutorMixin):
            bases = (mixin, util.BaseTestCase)
        case = type(f"Pool{mixin.__name__}", bases, {"executor_type": StandardPool, "worker_count": 3})
        if mixin.__name__.endswith("InitializerMixin"):
            case.worker_count = 2
        for name in unittest.defaultTestLoader.getTestCaseNames(case):
            if name not in LEFT_OUT:
                whole.addTest(case(name))
    return whole


if __name__ == "__main__":
    outcome = unittest.TextTestRunner(verbosity=2).run(suite(sys.argv[1]))
    print(f"ran {outcome.testsRun}, skipped {len(outcome.skipped)}")
    sys.exit(not outcome.wasSuccessful())

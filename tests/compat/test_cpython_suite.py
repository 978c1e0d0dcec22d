"""CPython's own tests of `concurrent.interpreters` pass on `atoll.compat` with only the imports changed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FOREIGN = "what another module made through the C-API is no host of Atoll, and Atoll is not to be imported there"
PRIVATE = "tests the private modules _interpreters, _interpqueues and _interpchannels"
LEFT_OUT = {
    "test_interpreters.test_api": {
        "LowLevelTests": PRIVATE,
        "TestInterpreterIsRunning.test_from_subinterpreter": PRIVATE,
        "GetCurrentTests.test_created_with_capi": FOREIGN,
        "ListAllTests.test_created_with_capi": FOREIGN,
        "TestInterpreterIsRunning.test_created_with_capi": FOREIGN,
        "TestInterpreterClose.test_created_with_capi": FOREIGN,
        "TestInterpreterPrepareMain.test_created_with_capi": FOREIGN,
        "TestInterpreterExec.test_created_with_capi": FOREIGN,
        "InterpreterObjectTests.test_whence": FOREIGN,
        "InterpreterObjectTests.test_cleanup_in_repl": "wants a warning at exit; Atoll closes what is open instead",
    },
    "test_interpreters.test_queues": {
        "LowLevelTests": PRIVATE,
    },
    "test_interpreters.test_channels": {
        "LowLevelTests": PRIVATE,
    },
    "test_interpreters.test_lifecycle": {},
    "test_interpreters.test_stress": {},
    "test_concurrent_futures.test_interpreter_pool": {
        "InterpreterPoolExecutorTest.test_thread_name_prefix_with_thread_get_name": (
            "wants to be called on the pool's own thread; the threads of an Atoll host are Atoll's"
        ),
    },
}
"""What is left out of each of CPython's modules, and why; docs/guide/compat.md says the same in the user's words."""

LEAST = {
    "test_interpreters.test_api": 75,
    "test_interpreters.test_queues": 25,
    "test_interpreters.test_channels": 30,
    "test_interpreters.test_lifecycle": 2,
    "test_interpreters.test_stress": 2,
    "test_concurrent_futures.test_interpreter_pool": 35,
}
"""How many tests have to pass, so that a change of CPython's that hides them does not go unnoticed."""


def _reason_to_skip() -> str:
    if sys.version_info < (3, 14):
        return "concurrent.interpreters is new in Python 3.14"
    if importlib.util.find_spec("test") is None or importlib.util.find_spec("test.test_interpreters") is None:
        return "this Python comes without its own tests (the package `test`)"
    return ""


@pytest.mark.slow
@pytest.mark.skipif(bool(_reason_to_skip()), reason=_reason_to_skip() or "it runs")
@pytest.mark.parametrize("module", LEFT_OUT)
def test_cpythons_own_tests_pass_with_only_the_imports_changed(module: str) -> None:
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.compat.cpython_suite", module, *LEFT_OUT[module]]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(ROOT)]))

    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300
    )

    assert done.stdout.strip(), done.stderr
    ends = json.loads(done.stdout.splitlines()[-1])
    bad = {name: end for name, end in ends.items() if end != "passed" and not end.startswith("skipped")}
    assert not bad, done.stderr
    assert sum(end == "passed" for end in ends.values()) >= LEAST[module], ends

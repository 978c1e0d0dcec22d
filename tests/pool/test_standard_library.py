"""CPython's own tests of executors pass with a Pool as the executor; `standard_library` says what is left out."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

if importlib.util.find_spec("test") is None or importlib.util.find_spec("test.test_concurrent_futures") is None:
    pytest.skip("this Python comes without its test suite", allow_module_level=True)


@pytest.mark.slow
def test_the_standard_librarys_tests_of_executors_pass(kind: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.pool.standard_library", kind],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    ran = re.search(r"ran (\d+), skipped (\d+)", done.stdout)
    assert ran is not None
    assert int(ran[1]) >= 20

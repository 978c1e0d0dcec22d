"""Twenty seconds of the soak; `make soak` runs it for longer."""

from __future__ import annotations

import os
import re

import pytest
from tests.isolates.programs import check, needs, run_python

pytestmark = [pytest.mark.usefixtures("isolates_here"), pytest.mark.slow]

SECONDS = int(os.environ.get("ATOLL_SOAK_SECONDS", "20"))


def test_a_mixed_load_on_four_isolates_ends_with_nothing_bad_and_memory_flat() -> None:
    needs("numpy", "pandas", "polars", "pyarrow")

    # The cancelled tasks run in isolates of their own: together they are more than fit without the loader's tunable.
    tunable = {"GLIBC_TUNABLES": "glibc.rtld.nns=16"}
    out = check(run_python("-m", "tests.isolates.soak", str(SECONDS), env=tunable, patience=SECONDS + 300))

    summary = re.search(r"([\d,]+) jobs in 4 isolates, ([\d,]+) cancellations.*: 0 bad", out)
    assert summary, out
    assert all(int(number.replace(",", "")) > 0 for number in summary.groups()), out

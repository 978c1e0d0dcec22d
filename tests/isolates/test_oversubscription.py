"""The pools of numeric libraries: the isolates share the cores instead of each taking them all."""

from __future__ import annotations

import os

import pytest
from tests.isolates.conftest import RunProgram
from tests.isolates.programs import check, needs

pytestmark = pytest.mark.usefixtures("isolates_here")

UNSET = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"))

PROGRAM = """
import atoll

def pools():
    import numpy
    from scipy import linalg  # its own OpenBLAS
    from sklearn.ensemble import HistGradientBoostingClassifier  # its own OpenMP
    from threadpoolctl import threadpool_info

    return sorted({(pool["user_api"], pool["num_threads"]) for pool in threadpool_info()})

def polars_threads():
    import polars
    return polars.thread_pool_size()

with atoll.Interpreter(kind="isolate") as host:
    print(host.call(pools), host.call(polars_threads))
"""


@pytest.mark.parametrize(
    "threads", sorted({1, min(3, os.process_cpu_count() or 1)})
)  # OpenBLAS takes no more than cores
def test_the_knob_sets_the_threads_of_every_pool(run_program: RunProgram, threads: int) -> None:
    needs("numpy", "scipy", "scikit-learn", "threadpoolctl", "polars")

    out = check(run_program(PROGRAM, env={**UNSET, "ATOLL_ISOLATE_THREADS": str(threads)}))

    assert out == f"[('blas', {threads}), ('openmp', {threads})] {threads}\n"


def test_by_default_the_isolates_divide_the_cores_among_them(run_program: RunProgram) -> None:
    needs("numpy", "scipy", "scikit-learn", "threadpoolctl", "polars")
    cores = os.process_cpu_count() or 1

    env = {**UNSET, "ATOLL_ISOLATE_THREADS": None, "GLIBC_TUNABLES": "glibc.rtld.nns=16"}
    out = check(run_program(PROGRAM, env=env))

    # As many isolates as cores, and 15 at most, run at once.
    share = max(1, cores // min(cores, 15))
    assert out == f"[('blas', {share}), ('openmp', {share})] {share}\n"


def test_what_the_user_has_set_stays(run_program: RunProgram) -> None:
    needs("numpy", "scipy", "scikit-learn", "threadpoolctl", "polars")

    out = check(
        run_program(
            PROGRAM, env={**UNSET, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "POLARS_MAX_THREADS": "2"}
        )
    )

    assert out == "[('blas', 2), ('openmp', 2)] 2\n"


def test_the_threads_of_main_are_left_alone(run_program: RunProgram) -> None:
    needs("numpy", "threadpoolctl")
    program = """
import os
import atoll
import numpy
from threadpoolctl import threadpool_info

before = [pool["num_threads"] for pool in threadpool_info()]
with atoll.Interpreter(kind="isolate") as host:
    host.exec("import numpy")
    after = [pool["num_threads"] for pool in threadpool_info()]
print(before == after, "OPENBLAS_NUM_THREADS" in os.environ)
"""

    assert check(run_program(program, env=UNSET)) == "True False\n"

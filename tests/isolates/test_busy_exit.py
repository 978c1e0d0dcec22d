"""The end of a process whose isolates are busy, in BLAS and polars threads too: never a hang, never a crash."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tests.isolates.conftest import RunProgram
from tests.isolates.programs import check, needs

pytestmark = pytest.mark.usefixtures("isolates_here")

TIMES = 20

BUSY = """
import sys
import atoll

def compute(started):
    import threading
    import numpy as np

    matrix = np.random.default_rng(1).random((300, 300))

    def forever():
        while True:
            np.linalg.svd(matrix @ matrix)

    for _ in range(2):
        threading.Thread(target=forever, daemon=True).start()
    started.send(1)
    forever()

def spin(started):
    started.send(1)
    while True:
        pass

def query(started):
    import polars as pl

    frame = pl.DataFrame({"a": list(range(5000))})
    started.send(1)
    while True:
        frame.group_by(pl.col("a") % 17).agg(pl.len())

started = atoll.Channel()
hosts = [atoll.Interpreter(kind="isolate") for _ in range(3)]
import threading
for host, work in zip(hosts, WORKS):
    threading.Thread(target=host.call, args=(work, started.sender), daemon=True).start()
for host in hosts:
    started.recv(timeout=120)
"""

ENDS = {
    "falling off the end": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an exception": ("raise ValueError('main')", 1),
    "os._exit": ("import os; os._exit(4)", 4),
}


def exit_codes(program: RunProgram, source: str, times: int) -> Counter[int]:
    """The exit codes of so many runs; each must be over soon, and say nothing of a crash."""
    codes: Counter[int] = Counter()
    for _ in range(times):
        done = program(source, env={"OPENBLAS_NUM_THREADS": "2", "ATOLL_ISOLATE_THREADS": "2"}, patience=60)
        assert "Fatal Python error" not in done.err, done.err
        assert "panicked" not in done.err, done.err
        codes[done.code] += 1
    return codes


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS)
def test_a_process_with_busy_blas_threads_ends_with_its_exit_code(run_program: RunProgram, end: str) -> None:
    needs("numpy")
    statement, code = ENDS[end]
    source = BUSY.replace("WORKS", "(compute, compute, spin)") + statement
    times = TIMES if end == "falling off the end" else TIMES // 4

    assert exit_codes(run_program, source, times) == {code: times}


@pytest.mark.slow
def test_a_process_with_busy_polars_threads_ends_with_its_exit_code(run_program: RunProgram) -> None:
    needs("numpy", "polars")
    source = BUSY.replace("WORKS", "(query, compute, query)") + "sys.exit(5)"

    assert exit_codes(run_program, source, TIMES // 2) == {5: TIMES // 2}


def test_the_end_of_a_process_with_busy_isolates_is_soon(run_program: RunProgram) -> None:
    needs("numpy")
    source = BUSY.replace("WORKS", "(compute, spin, spin)") + "import time; print(time.monotonic(), flush=True)"

    done = run_program(source)

    # One clock for all processes of the machine: how long the end itself took.
    assert time.monotonic() - float(check(done)) < 8


def test_output_of_isolates_is_flushed_and_their_atexit_functions_run(run_program: RunProgram) -> None:
    done = run_program(
        """
        import atoll

        def prepare(number):
            import atexit
            atexit.register(print, "goodbye from", number)
            print("begun", number, end="; ")

        hosts = [atoll.Interpreter(kind="isolate") for _ in range(2)]
        for number, host in enumerate(hosts):
            host.call(prepare, number)
        """
    )

    out = check(done)
    assert all(f"begun {number}" in out and f"goodbye from {number}" in out for number in range(2)), out


def test_ctrl_c_in_main_interrupts_while_four_isolates_compute(
    isolates_here: None, start_child: Callable[[str], Any]
) -> None:
    child = start_child(
        """
        import threading
        import time
        import atoll

        def compute(started):
            started.send(1)
            total = 0
            while True:
                total += 1

        started = atoll.Channel()
        hosts = [atoll.Interpreter(kind="isolate") for _ in range(4)]
        for host in hosts:
            threading.Thread(target=host.call, args=(compute, started.sender), daemon=True).start()
        for _ in hosts:
            started.recv(timeout=60)
        try:
            print("computing", flush=True)
            time.sleep(1000)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(sum(host.is_running() for host in hosts), flush=True)
        """
    )
    child.wait_for_line("computing")
    child.wait_until_blocked()  # before that, time.sleep may miss the signal: any Python's may

    child.interrupt()

    code, out, _ = child.end()
    assert (code, out) == (0, "interrupted\n4\n")


def test_os_exit_in_an_isolate_ends_the_process_with_that_code(run_program: RunProgram) -> None:
    done = run_program("import atoll, os\natoll.run(lambda: __import__('os')._exit(6), kind='isolate')\n")

    assert done.code == 6


def test_sys_exit_in_an_isolate_ends_its_task_only(run_program: RunProgram) -> None:
    done = run_program(
        """
        import sys
        import atoll

        host = atoll.Interpreter(kind="isolate")
        try:
            host.exec("import sys; sys.exit(7)")
        except SystemExit as error:
            print("a SystemExit with", error.code)
        print(host.call(abs, -1))
        sys.exit(8)
        """
    )

    assert (done.code, done.out) == (8, "a SystemExit with 7\n1\n")

"""Forks while isolates are busy: the child lives, the parent and its isolates go on."""

from __future__ import annotations

import pytest
from tests.isolates.conftest import RunProgram
from tests.isolates.programs import check, needs

pytestmark = pytest.mark.usefixtures("isolates_here")

TIMES = 20

BUSY = """
import json, os, subprocess, sys, threading, warnings
import atoll

warnings.simplefilter("ignore", DeprecationWarning)

def compute(started, stop):
    import threading
    import numpy as np

    turns = 0

    def work():
        nonlocal turns
        while not len(stop):
            blocks = [bytearray(1000) for _ in range(1000)]
            np.linalg.norm(np.random.rand(60, 60) @ np.random.rand(60, 60))
            turns += 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.send(1)
    for thread in threads:
        thread.join()
    return turns

started, stop = atoll.Channel(), atoll.Channel()
tasks = []
hosts = [atoll.Interpreter(kind="isolate") for _ in range(3)]
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(3)
tasks = [pool.submit(host.call, compute, started.sender, stop.receiver) for host in hosts]
for _ in tasks:
    started.recv(timeout=60)

codes = []
for turn in range(TIMES):
    CHILD
stop.send(1)
assert all(task.result(60) > 0 for task in tasks)
for host in hosts:
    assert host.call(abs, -1) == 1
    host.close()
print(sorted(set(codes)), len(codes))
"""

FORKED = """
    child = os.fork()
    if child == 0:
        try:
            {statement}
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(3)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

CHILDREN = {
    "runs Python and threads": """
            json.dumps([dict(a=n) for n in range(10000)])
            threads = [threading.Thread(target=lambda: [bytes(3000) for _ in range(2000)]) for _ in range(12)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            os._exit(0)""",
    "ends normally": "sys.exit(0)",
    "replaces itself": "os.execv(sys.executable, [sys.executable, '-c', 'pass'])",
    "computes with numpy": """
            import numpy as np
            matrix = np.random.default_rng(1).random((100, 100))
            np.linalg.svd(matrix @ matrix)
            os._exit(0)""",
}


@pytest.mark.slow
@pytest.mark.parametrize("child", CHILDREN)
def test_a_forked_child_of_a_process_with_busy_isolates(run_program: RunProgram, child: str) -> None:
    needs("numpy")
    forked = FORKED.format(statement=CHILDREN[child]).strip()
    if child == "ends normally":
        forked = forked.replace("except BaseException", "except ValueError")  # SystemExit is to pass

    out = check(run_program(BUSY.replace("CHILD", forked).replace("TIMES", str(TIMES))))

    assert out == f"[0] {TIMES}\n"


@pytest.mark.slow
def test_subprocesses_of_a_process_with_busy_isolates(run_program: RunProgram) -> None:
    needs("numpy")
    statement = """
    done = subprocess.run([sys.executable, "-c", "print(turn)".replace("turn", str(turn))], capture_output=True,
                          preexec_fn=(lambda: None) if turn % 2 else None)
    codes.append(done.returncode if done.stdout == b"%d\\n" % turn else -1)""".strip()

    out = check(run_program(BUSY.replace("CHILD", statement).replace("TIMES", str(TIMES))))

    assert out == f"[0] {TIMES}\n"


@pytest.mark.slow
def test_a_forked_child_cannot_use_isolates_and_is_told(run_program: RunProgram) -> None:
    needs("numpy")
    child = FORKED.format(
        statement="""
            for attempt in (lambda: hosts[0].call(abs, -1), lambda: atoll.run(abs, -1, kind="isolate"),
                            lambda: atoll.Interpreter(kind="isolate")):
                try:
                    attempt()
                    os._exit(4)
                except atoll.AtollError as error:
                    assert "fork" in str(error), error
            os._exit(0)"""
    ).strip()

    out = check(run_program(BUSY.replace("CHILD", child).replace("TIMES", "5")))

    assert out == "[0] 5\n"


@pytest.mark.slow
def test_a_pool_of_forked_processes_beside_busy_isolates(run_program: RunProgram) -> None:
    needs("numpy")
    statement = """
    import math, multiprocessing
    with multiprocessing.get_context("fork").Pool(2) as processes:
        codes.append(processes.map(math.factorial, range(5)) != [1, 1, 2, 6, 24])""".strip()

    out = check(run_program(BUSY.replace("CHILD", statement).replace("TIMES", "5")))

    assert out == "[False] 5\n"

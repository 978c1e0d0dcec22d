"""Isolates share one process: how it ends, its children, its signals, its output."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.isolates.programs import ROOT, Done, check

from atoll import Interpreter

pytestmark = pytest.mark.usefixtures("isolates_here")

type RunProgram = Callable[..., Done]

# Ending the session or the process -------------------------------------------------------------------------------


def test_sys_exit_ends_the_call_only(isolate: Interpreter) -> None:
    with pytest.raises(SystemExit) as caught:
        isolate.exec("import sys; sys.exit(5)")
    assert caught.value.code == 5
    assert isolate.call(abs, -1) == 1


def test_os_exit_ends_the_process(run_program: RunProgram) -> None:
    done = run_program("""
        import atoll
        with atoll.Interpreter(kind="isolate") as host:
            host.exec("import os; os._exit(6)")
        print("still here")
    """)
    assert (done.code, done.out) == (6, "")


def test_an_exception_without_a_handler_ends_nothing_but_the_call(isolate: Interpreter) -> None:
    with pytest.raises(ZeroDivisionError):
        isolate.exec("1 / 0")
    with pytest.raises(RecursionError):
        isolate.exec("def fall(): fall()\nfall()")
    assert isolate.call(abs, -1) == 1


def test_changing_the_directory_changes_it_for_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()

    with Interpreter(kind="isolate") as host:
        host.call(os.chdir, "below")
    assert Path.cwd() == tmp_path / "below"


def test_exit_functions_of_libraries_run_when_the_process_ends(run_program: RunProgram) -> None:
    done = run_program("""
        import atoll

        def use_a_library():
            import colorsys
            library = {"__name__": "colorsys"}
            exec("import atexit; atexit.register(print, 'the library leaves', flush=True)", library)

        for _ in range(2):
            with atoll.Interpreter(kind="isolate") as host:
                host.call(use_a_library)
        print("end of the script", flush=True)
    """)
    assert check(done).splitlines() == ["end of the script", "the library leaves", "the library leaves"]


# Forks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "code", "output"),
    [
        ("return 5", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("sys.exit('low tide')", 1, "low tide"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("os._exit(9)", 9, ""),
    ],
)
def test_a_forked_child_of_an_isolate_ends_where_a_script_would(
    run_program: RunProgram, ending: str, code: int, output: str
) -> None:
    done = run_program(f"""
        import atoll

        def work():
            import os, sys
            pid = os.fork()
            if pid == 0:
                print("child")
                {ending}
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        if __name__ == "__main__":
            with atoll.Interpreter(kind="isolate") as host:
                print("code", host.call(work), flush=True)
                print("again", host.call(abs, -1), flush=True)
    """)
    lines = check(done).splitlines()
    assert lines == ["child", f"code {code}", "again 1"]
    assert output in done.err


def test_a_forked_child_runs_the_exit_functions_and_cannot_use_workers(run_program: RunProgram) -> None:
    done = run_program("""
        import atoll

        def work():
            import atexit, os, atoll
            atexit.register(lambda: print("exit function of", "child" if child else "parent", flush=True))
            pid = os.fork()
            child = pid == 0
            if child:
                import threading
                thread = threading.Thread(target=lambda: (refused.wait(), print("thread of child")))
                refused = threading.Event()
                thread.start()
                try:
                    atoll.spawn(abs, -1)
                except atoll.AtollError as error:
                    print("refused:", "fork" in str(error), flush=True)
                refused.set()
                return
            os.waitpid(pid, 0)

        with atoll.Interpreter(kind="isolate") as host:
            host.call(work)
        print("end", flush=True)
    """)
    assert check(done).splitlines() == [
        *("refused: True", "thread of child", "exit function of child"),
        *("exit function of parent", "end"),
    ]


def test_multiprocessing_works_inside(isolate: Interpreter) -> None:
    def compute(method: str) -> list[float]:
        import math
        import multiprocessing
        import warnings

        warnings.simplefilter("ignore")  # of a fork in a process with threads, which this one always is
        with multiprocessing.get_context(method).Pool(2) as pool:
            return pool.map(math.sqrt, [1, 4, 9])

    for method in ("fork", "spawn"):
        assert isolate.call(compute, method) == [1, 2, 3]


def test_children_that_a_session_forgets_are_ended() -> None:
    def start() -> int:
        import multiprocessing
        import time
        import warnings

        warnings.simplefilter("ignore")
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(100,), daemon=True)
        process.start()
        assert process.pid is not None
        return process.pid

    with Interpreter(kind="isolate") as host:
        pid = host.call(start)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pools_of_processes_that_a_session_forgets_are_ended(method: str) -> None:
    def work() -> list[int]:
        import multiprocessing
        import multiprocessing.pool
        import warnings
        from concurrent.futures import ProcessPoolExecutor

        import __main__

        warnings.simplefilter("ignore")
        context = multiprocessing.get_context(method)
        __main__.pools = pools = [
            ProcessPoolExecutor(2, mp_context=context),
            context.Pool(2),
            multiprocessing.pool.ThreadPool(2),
        ]
        assert [*pools[0].map(abs, [-1]), *pools[1].map(abs, [-2]), *pools[2].map(abs, [-3])] == [1, 2, 3]
        return [child.pid or 0 for child in multiprocessing.active_children()]

    def count_threads() -> int:
        import sys

        return len(sys._current_frames())

    with Interpreter(kind="isolate") as host:
        children = host.call(work)
    with Interpreter(kind="isolate") as host:
        assert host.call(count_threads) == 1
    assert len(children) >= 3
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


# Signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)",
        "import signal; signal.set_wakeup_fd(-1)",
        "import signal; signal.siginterrupt(signal.SIGINT, True)",
        "import signal; signal.setitimer(signal.ITIMER_REAL, 1)",
        "import signal; signal.alarm(1)",
        "import faulthandler; faulthandler.enable()",
        "import faulthandler, signal; faulthandler.register(signal.SIGUSR1)",
        "import _signal; _signal.signal(2, _signal.SIG_DFL)",
    ],
)
def test_functions_that_take_signals_from_the_main_interpreter_are_refused(
    isolate: Interpreter, statement: str
) -> None:
    with pytest.raises(ValueError, match="main interpreter"):
        isolate.exec(statement)


def test_asyncio_runs_although_it_would_like_to_handle_signals(isolate: Interpreter) -> None:
    def work() -> list[str]:
        import asyncio
        import signal

        async def main() -> str:
            try:
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)
            except RuntimeError as error:
                return str(error)
            return "it was allowed"

        return [asyncio.run(main()), asyncio.run(asyncio.sleep(0, "done"))]

    refused, done = isolate.call(work)
    assert "main interpreter" in refused
    assert done == "done"


def test_ctrl_c_reaches_the_main_interpreter_while_four_isolates_compute(run_program: RunProgram) -> None:
    done = run_program("""
        import os, signal, threading, time, atoll

        def compute(started, inbox):
            import asyncio
            asyncio.run(asyncio.sleep(0))
            started.send(1)
            total = 0
            while not len(inbox):
                total += sum(range(1000))
            return total

        started, stop = atoll.Channel(4), atoll.Channel(1)
        hosts = [atoll.Interpreter(kind="isolate") for _ in range(4)]
        answers = []
        threads = [
            threading.Thread(target=lambda host=host: answers.append(host.call(compute, started.sender, stop.receiver)))
            for host in hosts
        ]
        for thread in threads:
            thread.start()
        for _ in hosts:
            started.recv(timeout=60)
        caught = 0
        for _ in range(5):
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                time.sleep(30)
            except KeyboardInterrupt:
                caught += 1
        stop.send(1)
        for thread in threads:
            thread.join()
        for host in hosts:
            host.close()
        print("caught", caught, "answers", sum(answer > 0 for answer in answers))
    """)
    assert check(done).strip() == "caught 5 answers 4"


# Output ----------------------------------------------------------------------------------------------------------

LINES = """
    import atoll

    def write(number):
        import sys
        for line in range(5000):
            length = 10_000 if line % 500 == 0 else 20 + line % 60
            print(number, line, "abcd"[number] * length, file=sys.stderr if line % 2 else sys.stdout)

    with atoll.TaskGroup() as group:
        for number in range(4):
            group.spawn(write, number, kind="isolate")
"""


@pytest.mark.parametrize("unbuffered", [None, "1"])
def test_lines_of_several_isolates_do_not_mix(tmp_path: Path, unbuffered: str | None) -> None:
    script = tmp_path / "lines.py"
    script.write_text(textwrap.dedent(LINES))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    if unbuffered is not None:
        environment["PYTHONUNBUFFERED"] = unbuffered
    done = subprocess.run(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    seen = set()
    for text in done.stdout.splitlines():
        number, line, letters = text.split()
        length = 10_000 if int(line) % 500 == 0 else 20 + int(line) % 60
        assert letters == "abcd"[int(number)] * length
        seen.add((number, line))
    assert len(seen) == 20_000


def test_what_is_printed_without_a_newline_is_out_when_the_call_ends(run_program: RunProgram) -> None:
    done = run_program("""
        import os, atoll
        with atoll.Interpreter(kind="isolate") as host:
            host.exec("print('half a line', end='')")
            os.write(1, b"|")
            host.exec("import sys; sys.stdout.buffer.write(b'bytes'); sys.stdout.write('text')")
            host.exec("import sys; sys.stderr.write('error')")
    """)
    assert check(done) == "half a line|bytestext"
    assert done.err == "error"

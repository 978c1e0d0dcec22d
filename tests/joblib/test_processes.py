"""The backend at the edges of a process: its end, its forks, its prompt, Ctrl-C, and where joblib is not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

type RunChild = Callable[[str], tuple[int, str, str]]


def test_functions_of_a_script_work_without_a_main_guard(run_child: RunChild) -> None:
    code, out, err = run_child("""
        import atoll.joblib
        from joblib import Parallel, delayed

        def double(x):
            return 2 * x

        print(Parallel(n_jobs=2, backend="atoll")(delayed(double)(i) for i in range(5)))
    """)
    assert (code, out.strip(), err) == (0, "[0, 2, 4, 6, 8]", "")


def test_functions_of_a_prompt_work() -> None:
    source = """
import atoll.joblib
from joblib import Parallel, delayed
def double(x):
    return 2 * x

Parallel(n_jobs=2, backend="atoll")(delayed(double)(i) for i in range(3))
def double(x):
    return 3 * x

Parallel(n_jobs=2, backend="atoll")(delayed(double)(i) for i in range(3))
"""
    done = subprocess.run([sys.executable, "-i", "-q"], input=source, capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["[0, 2, 4]", "[0, 3, 6]"], done.stderr


def test_ctrl_c_cancels_the_tasks_and_reaches_the_caller(start_child: Callable[[str], Any]) -> None:
    child = start_child("""
        import atoll, atoll.joblib
        from joblib import Parallel, delayed

        started, ended = atoll.Channel(None), atoll.Channel(None)

        def spin(started, ended):
            started.send(1)
            try:
                while True:
                    pass
            except atoll.Cancellation:
                ended.send("cancelled")
                raise

        def announce():
            started.recv()
            print("running", flush=True)

        import threading
        threading.Thread(target=announce).start()
        try:
            Parallel(n_jobs=2, backend="atoll")(delayed(spin)(started.sender, ended.sender) for _ in range(2))
        except KeyboardInterrupt:
            print("interrupted", ended.recv(10))
        print(Parallel(n_jobs=2, backend="atoll")(delayed(abs)(-i) for i in range(3)))
    """)
    child.wait_for_line("running")
    child.interrupt()
    code, out, err = child.end()
    assert (code, out.split("\n")[:2], err) == (0, ["interrupted cancelled", "[0, 1, 2]"], "")


def test_a_process_ends_although_tasks_are_out(run_child: RunChild) -> None:
    code, out, err = run_child("""
        import atoll, atoll.joblib
        from joblib import Parallel, delayed

        def spin(started):
            started.send(1)
            while True:
                pass

        started = atoll.Channel(None)
        results = Parallel(n_jobs=2, backend="atoll", return_as="generator")(
            delayed(spin)(started.sender) for _ in range(8)
        )
        started.recv()
        import builtins
        builtins.results = results  # not collected before the end
        print("done")
    """)
    assert (code, out.strip()) == (0, "done"), err


def test_a_forked_child_uses_processes_and_a_warning_says_so(run_child: RunChild) -> None:
    code, out, err = run_child("""
        import os, warnings
        import atoll.joblib
        from joblib import Parallel, delayed

        warnings.simplefilter("ignore", DeprecationWarning)
        print(Parallel(n_jobs=2, backend="atoll")(delayed(abs)(-i) for i in range(3)), flush=True)
        child = os.fork()
        if not child:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", UserWarning)
                result = Parallel(n_jobs=2, backend="atoll")(delayed(abs)(-i) for i in range(4))
            print(result, any("forked" in str(one.message) for one in said), flush=True)
            from joblib.externals.loky import get_reusable_executor
            get_reusable_executor().shutdown()
            os._exit(0)
        os.waitpid(child, 0)
        print(Parallel(n_jobs=2, backend="atoll")(delayed(abs)(-i) for i in range(3)))
    """)
    assert (code, out.split("\n")[:3]) == (0, ["[0, 1, 2]", "[0, 1, 2, 3] True", "[0, 1, 2]"]), err


def test_proxies_of_a_manager_work_in_tasks(run_child: RunChild) -> None:
    code, out, err = run_child("""
        import multiprocessing
        import atoll.joblib
        from joblib import Parallel, delayed

        def put(shared, number):
            shared.append(number)

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Manager() as manager:
                shared = manager.list()
                Parallel(n_jobs=2, backend="atoll")(delayed(put)(shared, i) for i in range(4))
                print(sorted(shared))
    """)
    assert (code, out.strip()) == (0, "[0, 1, 2, 3]"), err


def test_a_worker_imports_joblib_only_when_a_task_does(run_child: RunChild) -> None:
    code, out, err = run_child("""
        import sys
        import atoll.joblib
        from joblib import Parallel, delayed

        def loaded(names):
            return [name for name in names if name in sys.modules]

        print(Parallel(n_jobs=2, backend="atoll")([delayed(loaded)(["joblib", "numpy", "multiprocessing"])] * 2))
    """)
    assert (code, out.strip()) == (0, "[[], []]"), err


def test_without_joblib_the_import_says_what_to_install(run_child: RunChild) -> None:
    code, out, _ = run_child("""
        import sys
        sys.modules["joblib"] = None
        try:
            import atoll.joblib
        except ImportError as error:
            print(error, error.name)
    """)
    assert code == 0
    assert out.strip() == (
        "cannot register a backend with joblib (it is not installed); pip install 'atoll[joblib]' joblib"
    )


@pytest.mark.slow
def test_processes_that_a_task_starts_end_with_it(run_child: RunChild) -> None:
    code, out, err = run_child("""
        import os, time
        import atoll.joblib
        from joblib import Parallel, delayed

        def in_processes(number):
            return Parallel(n_jobs=2, backend="loky")(delayed(abs)(i) for i in range(number))

        if __name__ == "__main__":
            print(Parallel(n_jobs=2, backend="atoll")(delayed(in_processes)(3) for _ in range(2)))
    """)
    assert (code, out.strip()) == (0, "[[0, 1, 2], [0, 1, 2]]"), err
    assert "still in C code" not in err


@pytest.mark.slow
def test_joblibs_own_backends_stay_as_they_are(run_child: RunChild) -> None:
    code, out, err = run_child("""
        import atoll.joblib
        from joblib import Parallel, delayed

        if __name__ == "__main__":
            for backend in ("loky", "threading", "sequential"):
                print(Parallel(n_jobs=2, backend=backend)(delayed(abs)(-i) for i in range(3)))
    """)
    assert (code, out.split("\n")[:3]) == (0, ["[0, 1, 2]"] * 3), err

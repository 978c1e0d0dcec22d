"""Pools in whole programs: the first five minutes, the end of the process, forks, Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.conftest import Child
from tests.kinds import skip_unless_available

type RunChild = Callable[[str], tuple[int, str, str]]


def test_a_script_needs_no_guard(run_child: RunChild, kind: str) -> None:
    code, out, err = run_child(f"""
        import atoll

        def f(x):
            return x * x

        with atoll.Pool(kind={kind!r}) as pool:
            print(list(pool.map(f, range(10))))
    """)
    assert (code, out.strip(), err) == (0, "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]", "")


def test_at_exit_a_pool_makes_the_calls_that_it_has(run_child: RunChild, kind: str) -> None:
    code, out, err = run_child(f"""
        import time
        import atoll

        def late(text):
            time.sleep(0.3)
            print(text)

        pool = atoll.Pool(2, {kind!r})
        pool.submit(late, "apple")
    """)
    assert (code, out.strip(), err) == (0, "apple", "")


def test_at_exit_after_a_shutdown_without_waiting_calls_end_too(run_child: RunChild, kind: str) -> None:
    code, out, err = run_child(f"""
        import time
        import atoll

        def late(text):
            time.sleep(0.3)
            print(text)

        pool = atoll.Pool(2, {kind!r})
        pool.submit(late, "apple")
        pool.shutdown(wait=False)
    """)
    assert (code, out.strip(), err) == (0, "apple", "")


def test_no_calls_are_taken_after_the_end_has_begun(run_child: RunChild, kind: str) -> None:
    _, out, err = run_child(f"""
        import atexit

        @atexit.register
        def last():
            try:
                pool.submit(id, None)
            except RuntimeError as error:
                print(error)

        import atoll
        pool = atoll.Pool(1, {kind!r})
        pool.submit(id, None).result()
    """)
    assert "cannot schedule new futures after shutdown" in out
    assert err == ""


def test_a_forked_child_is_refused_and_the_parent_goes_on(run_child: RunChild, kind: str) -> None:
    code, out, err = run_child(f"""
        import os, warnings
        import atoll
        warnings.simplefilter("ignore")

        pool = atoll.Pool(1, {kind!r})
        channel = atoll.Channel()
        waiting = pool.submit(channel.receiver.recv)
        child = os.fork()
        if child == 0:
            uses = (
                lambda: pool.submit(pow, 2, 3),
                lambda: pool.map(abs, [1]),
                lambda: waiting.result(),
                lambda: atoll.Pool(1, {kind!r}),
            )
            for use in uses:
                try:
                    use()
                except atoll.AtollError as error:
                    print("forked" in str(error), flush=True)
            pool.shutdown()
            os._exit(0)
        os.waitpid(child, 0)
        channel.send(5)
        print(waiting.result(), pool.submit(pow, 2, 3).result())
    """)
    assert (code, out.split(), err) == (0, ["True", "True", "True", "True", "5", "8"], "")


def test_a_pool_makes_do_with_the_isolates_that_there_are_and_says_so_once(run_child: RunChild) -> None:
    skip_unless_available("isolate")
    code, out, err = run_child("""
        import logging
        import threading
        import atoll

        said = []
        logging.getLogger("atoll").addFilter(lambda record: said.append(record.getMessage()))
        taken = []
        while atoll.capabilities()["isolate"].available:
            taken.append(atoll.Interpreter("isolate"))
        taken.pop().close()
        with atoll.Pool(4) as pool:
            print(list(pool.map(abs, [-1, -2])))
            while len(pool.workers) > 1:
                threading.Event().wait(0.01)
            print({worker.kind for worker in pool.stats().workers})
            try:
                pool.on(3)
            except ValueError as error:
                print(error)
        print(len(said), "runs with 1 of 4 workers" in said[0])
        for host in taken:
            host.close()
    """)
    assert (code, out.splitlines(), err) == (
        0,
        ["[1, 2]", "{'isolate'}", "cannot call on worker 3 (the pool has 1); see pool.workers", "1 True"],
        "",
    )


@pytest.mark.parametrize(
    "wait",
    ["pool.submit(spin).result()", "next(pool.map(spin, range(4)))", "concurrent.futures.wait([pool.submit(spin)])"],
)
def test_ctrl_c_ends_a_wait_and_the_calls_of_the_block(
    start_child: Callable[[str], Child], kind: str, wait: str
) -> None:
    child = start_child(f"""
        import concurrent.futures
        import sys
        import atoll

        def spin(*_):
            print("spinning", flush=True)
            while True:
                pass

        try:
            with atoll.Pool(1, {kind!r}) as pool:
                {wait}
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    child.wait_for_line("spinning")
    child.wait_until_blocked()
    child.interrupt()
    code, out, err = child.end()
    assert (code, out.strip(), err) == (0, "interrupted", "")

"""The end of a process never hangs and never crashes, whatever its tasks are doing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

type RunChild = Callable[[str], tuple[int, str, str]]

BUSY = """
import sys
import atoll

def spin(started):
    started.send(1)
    while True:
        pass

def block(started, never):
    started.send(1)
    never.recv()

def full(started, never):
    started.send(1)
    while True:
        never.send(1)

started = atoll.Channel()
never, stuffed = atoll.Channel(), atoll.Channel(1)
tasks = [atoll.spawn(spin, started.sender), atoll.spawn(block, started.sender, never.receiver),
         atoll.spawn(full, started.sender, stuffed.sender)]
for task in tasks:
    started.recv()
"""


@pytest.mark.parametrize(
    ("end", "expected"),
    [("", 0), ("sys.exit(3)", 3), ("raise ValueError('main')", 1), ("__import__('os')._exit(4)", 4)],
    ids=["falling off the end", "sys.exit", "exception", "os._exit"],
)
def test_exit_with_tasks_spinning_and_blocked_keeps_the_exit_code(run_child: RunChild, end: str, expected: int) -> None:
    began = time.monotonic()
    code, _, err = run_child(BUSY + end)
    assert code == expected, err
    assert time.monotonic() - began < 20
    assert ("ValueError: main" in err) == (end.startswith("raise"))


def test_exit_with_a_sub_interpreter_open_is_clean(run_child: RunChild) -> None:
    code, _, err = run_child(
        """
        import atoll
        host = atoll.Interpreter()
        host.exec("import threading")
        """
    )
    assert code == 0
    assert "Fatal" not in err


def test_exit_with_nothing_started_is_clean(run_child: RunChild) -> None:
    assert run_child("import atoll; atoll.spawn") == (0, "", "")


STUCK = """
    import hashlib
    import sys
    import atoll
    from atoll import _exit
    _exit.DEADLINE = 0.2

    def stuck(started):
        started.send(1)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # twenty minutes that nothing interrupts

    started = atoll.Channel()
    task = atoll.spawn(stuck, started.sender, kind={kind!r})
    started.recv()
    sys.exit({code})
"""


@pytest.mark.parametrize(("kind", "stuck"), [("interpreter", "1 task is"), ("isolate", "1 isolate is")])
def test_exit_while_a_task_sits_in_c_code_leaves_after_the_deadline(run_child: RunChild, kind: str, stuck: str) -> None:
    code, _, err = run_child(STUCK.format(kind=kind, code=0))
    assert code == 0
    assert f"{stuck} still in C code" in err


def test_a_stuck_isolate_does_not_change_the_exit_code(run_child: RunChild) -> None:
    code, _, err = run_child(STUCK.format(kind="isolate", code=7))
    assert code == 7
    assert "1 isolate is still in C code" in err


def test_output_is_flushed_when_the_process_leaves_under_stuck_tasks(run_child: RunChild) -> None:
    code, out, _ = run_child(
        """
        import hashlib
        import atoll
        from atoll import _exit
        _exit.DEADLINE = 0.2

        def stuck(started):
            started.send(1)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # twenty minutes that nothing interrupts

        started = atoll.Channel()
        task = atoll.spawn(stuck, started.sender)
        started.recv()
        print("still buffered")
        raise ValueError
        """
    )
    assert code == 1
    assert out == "still buffered\n"


def test_exit_inside_a_task_group_block_is_clean(run_child: RunChild) -> None:
    code, _, _ = run_child(BUSY + "with atoll.TaskGroup() as g:\n    g.spawn(spin, started.sender)\n    sys.exit(5)\n")
    assert code == 5


def test_exit_with_a_map_half_done_is_clean(run_child: RunChild) -> None:
    code, out, _ = run_child(
        """
        import itertools
        import atoll
        results = atoll.map(pow, itertools.count(), itertools.repeat(2))
        print(next(results), next(results))
        """
    )
    assert (code, out) == (0, "0 1\n")


def test_exit_with_a_daemon_thread_blocked_in_a_channel_is_clean(run_child: RunChild) -> None:
    code, _, _ = run_child(
        """
        import threading
        import atoll
        channel = atoll.Channel()
        ready = threading.Event()

        def wait():
            ready.set()
            channel.recv()

        threading.Thread(target=wait, daemon=True).start()
        ready.wait()
        """
    )
    assert code == 0


def test_a_task_may_end_the_process_for_all(run_child: RunChild) -> None:
    code, _, _ = run_child(BUSY + "atoll.run(lambda: __import__('os')._exit(6))")
    assert code == 6


def test_a_clean_up_of_a_cancelled_task_runs_at_exit(run_child: RunChild) -> None:
    code, out, _ = run_child(
        """
        import atoll

        def tidy(started):
            try:
                started.send(1)
                while True:
                    pass
            finally:
                print("tidied")

        started = atoll.Channel()
        task = atoll.spawn(tidy, started.sender)
        started.recv()
        """
    )
    assert (code, out) == (0, "tidied\n")

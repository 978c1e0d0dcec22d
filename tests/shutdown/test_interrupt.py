"""Ctrl-C interrupts every blocking verb of the main thread within 50 ms, and cancels what belongs to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

type StartChild = Callable[[str], Any]

PRELUDE = """
import sys, time, signal, threading
import atoll

def wait(gate):
    gate.recv()

def ready():
    print("ready", flush=True)

channel = atoll.Channel(0)
task = None
"""

AFTERMATH = """
except KeyboardInterrupt:
    print("interrupted", time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)
else:
    print("not interrupted", 0, flush=True)
"""

LIMIT = 0.05
ATTEMPTS = 3
"""A busy machine may be late for reasons of its own; a verb that polls or blocks is late every time."""


def interrupt_delay(start_child: StartChild, statement: str) -> float:
    """Seconds from the signal to the KeyboardInterrupt being handled."""
    child = start_child(PRELUDE + "try:\n    ready()\n" + indent(statement) + AFTERMATH)
    child.wait_for_line("ready")
    child.wait_until_blocked()
    sent = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    child.interrupt()
    code, out, err = child.end()
    assert code == 0, err
    word, when = out.split()[-2:]
    assert word == "interrupted", out + err
    return (int(when) - sent) / 1e9


def indent(statement: str) -> str:
    return "".join(f"    {line}\n" for line in statement.splitlines())


@pytest.mark.parametrize(
    "statement",
    [
        "channel.recv()",
        "channel.recv(timeout=100)",
        "channel.send(1)",
        "channel.send_many([1, 2])",
        "channel.recv_many(5)",
        "for _ in channel: pass",
        "atoll.select(channel.receiver, atoll.after(100))",
        "task = atoll.spawn(wait, channel.receiver); ready(); task.result()",
        "task = atoll.spawn(wait, channel.receiver); ready(); task.join()",
        "atoll.run(wait, channel.receiver)",
        "list(atoll.map(wait, [channel.receiver]))",
        "with atoll.Interpreter() as host: host.call(wait, channel.receiver)",
        "with atoll.Interpreter() as host: host.exec('while True: pass')",
        "with atoll.TaskGroup() as group: group.spawn(wait, channel.receiver)",
    ],
)
def test_ctrl_c_interrupts_within_50_ms(start_child: StartChild, statement: str) -> None:
    delays = []
    for _ in range(ATTEMPTS):
        delays.append(interrupt_delay(start_child, statement))
        if delays[-1] < LIMIT:
            return
    pytest.fail(f"too late each time: {delays}")


def test_an_own_signal_handler_runs_and_the_wait_goes_on(start_child: StartChild) -> None:
    child = start_child(
        """
        import signal, sys, threading
        import atoll
        channel = atoll.Channel(0)
        signal.signal(signal.SIGINT, lambda *_: threading.Thread(target=channel.send, args=("woken",)).start())
        print("ready", flush=True)
        print(channel.recv())
        """
    )
    child.wait_for_line("ready")
    child.wait_until_blocked()
    child.interrupt()
    code, out, _ = child.end()
    assert (code, out) == (0, "woken\n")


def test_run_cancels_its_task_when_it_is_interrupted(start_child: StartChild) -> None:
    child = start_child(
        """
        import atoll
        over = atoll.Channel(None)

        def spin(over):
            try:
                print("ready", flush=True)
                while True:
                    pass
            finally:
                over.send_nowait("cancelled")

        try:
            atoll.run(spin, over.sender)
        except KeyboardInterrupt:
            print(over.recv(timeout=10))
        """
    )
    child.wait_for_line("ready")
    child.interrupt()
    code, out, _ = child.end()
    assert (code, out) == (0, "cancelled\n")


def test_an_interrupted_group_cancels_and_joins_its_tasks(start_child: StartChild) -> None:
    child = start_child(
        """
        import atoll

        def spin(started):
            started.send(1)
            while True:
                pass

        started = atoll.Channel()
        tasks = []
        try:
            with atoll.TaskGroup() as group:
                for _ in range(4):
                    tasks.append(group.spawn(spin, started.sender))
                    started.recv()
                print("ready", flush=True)
        except KeyboardInterrupt:
            print([task.cancelled() for task in tasks])
        """
    )
    child.wait_for_line("ready")
    child.wait_until_blocked()
    child.interrupt()
    code, out, _ = child.end()
    assert (code, out) == (0, "[True, True, True, True]\n")


def test_an_uncaught_ctrl_c_with_tasks_running_ends_the_process(start_child: StartChild) -> None:
    child = start_child(
        """
        import atoll

        def wait(started, gate):
            started.send(1)
            gate.recv()

        # Started, not starting: CPython keeps one flag per process for "ended by Ctrl-C", and an import of the
        # standard library that evaluates source text in any interpreter (namedtuple does) clears it.
        started, gate = atoll.Channel(), atoll.Channel()
        task = atoll.spawn(wait, started.sender, gate.receiver)
        started.recv()
        print("ready", flush=True)
        task.result()
        """
    )
    child.wait_for_line("ready")
    child.wait_until_blocked()
    child.interrupt()
    code, _, err = child.end()
    assert code in (-2, 130)
    assert "KeyboardInterrupt" in err

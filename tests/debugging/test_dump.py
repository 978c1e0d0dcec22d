"""`atoll.dump()`: what every thread of every host executes right now."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.conftest import Child

import atoll


def dumped(timeout: float = 5.0) -> str:
    shown = io.StringIO()
    atoll.dump(shown, timeout=timeout)
    return shown.getvalue()


def part_of(text: str, host: atoll.Interpreter) -> str:
    """What a dump says of one host."""
    (part,) = (part for part in text.split("\n\n") if part.startswith(f"Host {host.id} "))
    return part


@pytest.fixture
def host(kind: str) -> Iterator[atoll.Interpreter]:
    with atoll.Interpreter(kind, name="looked at") as host:
        yield host


def calling(host: atoll.Interpreter, fn: Callable[..., object], *args: object) -> threading.Thread:
    """Call the function in the host until it is stopped."""

    def call() -> None:
        with contextlib.suppress(atoll.AtollError):
            host.call(fn, *args)

    thread = threading.Thread(target=call)
    thread.start()
    return thread


def compute(begun: atoll.Sender[int], stop: atoll.Receiver[int]) -> None:
    begun.send(1)
    with contextlib.suppress(atoll.ChannelEmpty):
        while not deeper(stop):
            pass


def deeper(stop: atoll.Receiver[int]) -> bool:
    with contextlib.suppress(atoll.ChannelEmpty):
        return bool(stop.recv_nowait())
    return False


def receive(begun: atoll.Sender[int], stop: atoll.Receiver[int]) -> None:
    begun.send(1)
    stop.recv()


def sleep(begun: atoll.Sender[int], stop: atoll.Receiver[int]) -> None:
    begun.send(1)
    while stop_is_empty(stop):
        time.sleep(0.05)


def stop_is_empty(stop: atoll.Receiver[int]) -> bool:
    try:
        stop.recv_nowait()
    except atoll.ChannelEmpty:
        return True
    return False


@pytest.mark.parametrize("work", [compute, receive, sleep], ids=["computes", "receives", "sleeps"])
def test_a_host_that_is_busy_is_shown(host: atoll.Interpreter, work: Callable[..., object]) -> None:
    begun, stop = atoll.Channel[int](), atoll.Channel[int]()
    thread = calling(host, work, begun.sender, stop.receiver)
    begun.recv()
    try:
        shown = part_of(dumped(), host)
    finally:
        stop.send(1)
        thread.join()

    assert shown.startswith(f"Host {host.id} 'looked at' ({host.kind}, ready)\n")
    assert re.search(r"Thread 0x[0-9a-f]{16}.*: task \d+, running for \d+\.\d s \(most recent call first\)", shown)
    assert re.search(rf'File "{re.escape(__file__)}", line \d+, in {work.__name__}$', shown, re.MULTILINE)
    assert "_agent.py" not in shown


def test_the_frames_of_a_thread_come_with_the_most_recent_call_first(host: atoll.Interpreter) -> None:
    def outer() -> list[str]:
        def inner() -> str:
            text = io.StringIO()
            atoll.dump(text)
            return text.getvalue()

        return inner().splitlines()

    lines = host.call(outer)

    (at,) = (number for number, line in enumerate(lines) if "(this one)" in line)
    assert [line.rpartition(".")[2] for line in lines[at + 1 : at + 3]] == ["inner", "outer"]


def test_threads_of_a_hosts_own_are_shown_by_their_names(host: atoll.Interpreter) -> None:
    begun, stop = atoll.Channel[int](), atoll.Channel[int]()

    def start() -> None:
        thread = threading.Thread(target=receive, args=(begun, stop), name="the helper")
        thread.start()
        thread.join()

    thread = calling(host, start)
    begun.recv()
    try:
        shown = part_of(dumped(), host)
    finally:
        stop.send(1)
        thread.join()

    title, frames = shown.partition("'the helper'")[1:]
    assert title
    assert frames.splitlines()[1].endswith("in receive")


def test_coroutines_are_shown_with_what_they_await(kind: str) -> None:
    begun, stop = atoll.Channel[int](), atoll.Channel[int]()

    async def outer() -> None:
        await inner()

    async def inner() -> None:
        await begun.asend(1)
        await stop.arecv()

    task = atoll.spawn(outer, name="waiting", kind=kind)
    begun.recv()
    try:
        shown = dumped()
    finally:
        stop.send(1)
        task.join()

    block = shown.partition(f"Coroutine: task {task.id} 'waiting'")[2].splitlines()
    functions = [line.rpartition(".")[2] for line in block[1:]]
    assert functions.index("inner") < functions.index("outer")


@pytest.mark.skipif(not sys._is_gil_enabled(), reason="there is no GIL to hold")
def test_a_host_whose_code_holds_its_gil_is_reported_with_its_task_after_the_timeout(host: atoll.Interpreter) -> None:
    begun = atoll.Channel[int]()

    def hold(begun: atoll.Sender[int]) -> None:
        import ctypes

        begun.send(1)
        ctypes.PyDLL(None).usleep(1_500_000)

    thread = calling(host, hold, begun.sender)
    begun.recv()
    with atoll.Interpreter(host.kind, name="another") as another:
        started = time.monotonic()
        # It may be dumped before it has got as far as that.
        while "lets nobody in" not in (shown := dumped(0.2)):
            assert time.monotonic() - started < 1.4
        assert "lets nobody in within 0.2 s" in part_of(shown, host)
        assert re.search(r"  task \d+, running for \d+\.\d s", part_of(shown, host))
        assert "waits for a task" in part_of(shown, another)
    thread.join()


def test_every_host_can_ask_and_is_shown_asking(kind: str) -> None:
    def ask() -> str:
        text = io.StringIO()
        atoll.dump(text, timeout=5.0)
        return text.getvalue()

    shown = atoll.run(ask, kind=kind)

    assert "Host 1 'main' (main, ready)\n" in shown
    assert re.search(r"in run$", shown, re.MULTILINE)  # where the main thread waits
    assert re.search(r"\(this one\): task \d+", shown)


def test_many_may_ask_at_once_while_hosts_come_and_go(kind: str) -> None:
    def churn() -> None:
        for _ in range(3):
            with atoll.Interpreter(kind) as host:
                host.call(len, "abc")

    def ask() -> None:
        while churning.is_alive():
            assert dumped().startswith("Atoll: what ")

    churning = threading.Thread(target=churn)
    churning.start()
    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    for thread in (churning, *asking):
        thread.join()


def test_it_is_written_to_stderr_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    atoll.dump()
    assert f"of process {os.getpid()} do\n" in capsys.readouterr().err


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)])
def test_a_bad_timeout_is_refused(timeout: float, error: type[Exception]) -> None:
    with pytest.raises(error, match="cannot wait with timeout="):
        atoll.dump(io.StringIO(), timeout=timeout)


def test_a_signal_can_ask_while_the_main_thread_waits(start_child: Callable[[str], Child], kind: str) -> None:
    child = start_child(f"""
        import atoll, signal

        def work(stop):
            stop.recv()

        if __name__ == "__main__":
            stop = atoll.Channel()
            signal.signal(signal.SIGUSR1, lambda *_: (atoll.dump(timeout=20), stop.send(1)))
            task = atoll.spawn(work, stop, kind={kind!r}, name="working")
            print("spawned", flush=True)
            task.result()
    """)
    child.wait_for_line("spawned")
    child.wait_until_blocked()
    child.process.send_signal(signal.SIGUSR1)
    code, _, errors = child.end()
    assert code == 0, errors
    assert "Host 2 " in errors
    assert "in Task.result" in errors


def test_a_forked_child_tells_of_itself(run_child: Callable[[str], tuple[int, str, str]], kind: str) -> None:
    code, out, errors = run_child(f"""
        import atoll, os, sys, warnings

        warnings.simplefilter("ignore")
        atoll.run(len, "abc", kind={kind!r})
        child = os.fork()
        if child == 0:
            atoll.dump(sys.stdout)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """)
    assert code == 0, errors
    assert "(a forked child: the others stayed with the parent)" in out
    assert "(this one)" in out

"""The life of an interpreter under stress: threads left behind, closing from anywhere, cancelling at bad moments."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import atoll

type RunChild = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def host() -> Iterator[atoll.Interpreter]:
    with atoll.Interpreter() as host:
        yield host


def spin(started: atoll.Sender[int]) -> None:
    started.send(1)
    while True:
        pass


# Threads ----------------------------------------------------------------------------------------------------------


def leave_a_thread_in(verb: str, channel: atoll.Channel[int], started: atoll.Sender[int]) -> None:
    import threading
    import time

    def work() -> None:
        started.send(threading.get_ident())
        if verb == "recv":
            channel.recv()
        elif verb == "select":
            atoll.select(channel.receiver)
        elif verb == "loop":
            while True:
                pass
        else:
            time.sleep(0.3)

    threading.excepthook = lambda _: None
    threading.Thread(target=work).start()


@pytest.mark.parametrize("verb", ["recv", "select", "loop", "sleep"])
def test_close_ends_the_threads_that_a_task_left_behind(verb: str) -> None:
    channel, started = atoll.Channel[int](), atoll.Channel[int]()
    host = atoll.Interpreter()
    host.call(leave_a_thread_in, verb, channel, started.sender)
    started.recv(timeout=30)
    host.close(timeout=30)
    assert host.id not in [info.id for info in atoll.list_hosts()]


def test_a_raw_thread_that_a_task_left_behind_does_not_crash_the_close() -> None:
    started, gate = atoll.Channel[int](), atoll.Channel[int]()

    def leave_one(started: atoll.Sender[int], gate: atoll.Receiver[int]) -> str:
        import _thread

        def work() -> None:
            started.send(1)
            try:
                gate.recv()
            except BaseException:
                pass

        try:
            _thread.start_new_thread(work, ())
        except RuntimeError:
            started.send(0)  # this Python allows no such threads here
        return "done"

    with atoll.Interpreter() as host:
        assert host.call(leave_one, started.sender, gate.receiver) == "done"
        started.recv(timeout=30)


@pytest.mark.parametrize("kind", ["interpreter"])  # an isolate takes them
def test_a_daemon_thread_is_refused_as_in_every_isolated_interpreter(kind: str) -> None:
    with atoll.Interpreter(kind=kind) as host, pytest.raises(RuntimeError, match="daemon"):
        host.exec("import threading; threading.Thread(target=print, daemon=True).start()")


# Opening and closing from anywhere --------------------------------------------------------------------------------


def test_a_task_may_open_use_and_close_an_interpreter() -> None:
    def nested(depth: int) -> int:
        with atoll.Interpreter() as inner:
            return 1 if depth == 0 else 1 + inner.call(nested, depth - 1)

    with atoll.Interpreter() as host:
        assert host.call(nested, 2) == 3


def test_a_task_that_closes_its_own_host_is_cancelled() -> None:
    host = atoll.Interpreter()

    def close_it(number: int) -> None:
        from atoll import _native

        _native.close_host(number, 30.0)

    with pytest.raises((atoll.TaskCancelled, atoll.AtollError)):
        host.call(close_it, host.id)
    host.close(timeout=30)


def test_interpreters_opened_and_closed_from_many_threads_at_once_all_work(kind: str) -> None:
    isolates = atoll.capabilities().isolates
    count = 4 if kind == "interpreter" else min(4, isolates.fit - isolates.open)
    failures: list[BaseException] = []

    def cycle() -> None:
        try:
            for number in range(5):
                with atoll.Interpreter() as host:
                    assert host.call(abs, -number) == number
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=cycle) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_close_from_two_threads_at_once_closes_once() -> None:
    host = atoll.Interpreter()
    threads = [threading.Thread(target=host.close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert host.id not in [info.id for info in atoll.list_hosts()]


def test_close_with_many_blocked_and_looping_tasks_cancels_them_all() -> None:
    channel, started = atoll.Channel[int](), atoll.Channel[int](None)

    def block(channel: atoll.Receiver[int], started: atoll.Sender[int]) -> None:
        started.send(1)
        channel.recv()

    with atoll.Interpreter() as host:
        threads = []
        for number in range(12):
            call = (spin, started.sender) if number % 3 == 0 else (block, channel.receiver, started.sender)
            thread = threading.Thread(target=_cancelled, args=(host, *call))
            thread.start()
            threads.append(thread)
        for _ in threads:
            started.recv(timeout=30)
        host.close(timeout=30)
        for thread in threads:
            thread.join(timeout=30)
            assert not thread.is_alive()


def _cancelled(host: atoll.Interpreter, *call: object) -> None:
    with pytest.raises(atoll.TaskCancelled):
        host.call(*call)  # type: ignore[arg-type]


# Bad moments for a cancellation -----------------------------------------------------------------------------------


def test_a_cancelled_import_leaves_the_import_system_whole() -> None:
    def use(started: atoll.Sender[int]) -> None:
        started.send(1)
        import asyncio
        import email.message
        import xml.dom.minidom

        while asyncio and email and xml:
            pass

    def check() -> bool:
        import asyncio
        import email.message
        import xml.dom.minidom

        return bool(asyncio.run and email.message.Message and xml.dom.minidom.parseString)

    started = atoll.Channel[int](None)
    for delay in range(12):
        task = atoll.spawn(use, started.sender)
        started.recv(timeout=30)
        threading.Event().wait(delay / 1000)
        task.cancel()
        task.join(timeout=30)
        assert task.done()
        assert atoll.run(check)


def test_a_task_that_does_nothing_but_import_is_cancelled(tmp_path: Path) -> None:
    folders = []
    for number in range(300):
        folders.append(str(tmp_path / str(number)))
        Path(folders[-1]).mkdir()

    def search(started: atoll.Sender[int]) -> None:
        import sys
        from contextlib import suppress

        sys.path[:0] = folders
        try:
            started.send(1)
            while True:
                with suppress(ImportError):
                    import no_such_island  # type: ignore[import-not-found]  # noqa: F401
        finally:
            del sys.path[: len(folders)]

    def decode(text: str) -> object:
        import json

        return json.loads(text)

    started = atoll.Channel[int]()
    task = atoll.spawn(search, started.sender)
    started.recv(timeout=30)
    task.cancel()
    task.join(timeout=30)
    assert task.cancelled()
    assert atoll.run(decode, "[1]") == [1]


def test_a_cancellation_that_a_finalizer_swallows_is_thrown_again() -> None:
    def churn(started: atoll.Sender[int]) -> None:
        class Noisy:
            def __del__(self) -> None:
                for _ in range(50):
                    pass

        import sys

        sys.unraisablehook = lambda _: None
        started.send(1)
        while True:
            Noisy()

    started = atoll.Channel[int](None)
    with atoll.Interpreter() as host:  # its own hook goes with it
        for _ in range(10):
            thread = threading.Thread(target=_cancelled_in, args=(host, churn, started))
            thread.start()
            started.recv(timeout=30)
            break
        host.close(timeout=30)
        thread.join(timeout=30)
        assert not thread.is_alive()

    for _ in range(10):
        task = atoll.spawn(churn, started.sender)
        started.recv(timeout=30)
        task.cancel()
        task.join(timeout=30)
        assert task.cancelled()


def _cancelled_in(host: atoll.Interpreter, fn: Callable[..., None], started: atoll.Channel[int]) -> None:
    with pytest.raises(atoll.TaskCancelled):
        host.call(fn, started.sender)


# Recursion --------------------------------------------------------------------------------------------------------

DEPTHS = {
    "python": "def f(n): return f(n + 1)\nf(0)",
    "through C": "def g(n): return list(map(g, [n]))\ng(0)",
    "repr": "class R:\n def __repr__(self): return repr([R()])\nrepr(R())",
    "pickle": "import pickle\nx = []\nfor _ in range(100_000): x = [x]\npickle.dumps(x)",
    "parser": "compile('-' * 100_000 + '1', 'x', 'eval')",
    "compiler": "compile('+'.join(['a'] * 200_000), 'x', 'eval')",
    "comparison": "class C:\n def __eq__(self, o): return [C()] == [o]\nC() == C()",
}


@pytest.mark.parametrize("source", DEPTHS.values(), ids=DEPTHS.keys())
@pytest.mark.parametrize("limit", [None, 20_000])
def test_recursion_without_end_is_an_ordinary_error(source: str, limit: int | None) -> None:
    with atoll.Interpreter() as host:
        if limit is not None:
            host.exec(f"import sys; sys.setrecursionlimit({limit})")
        with pytest.raises((RecursionError, MemoryError)):
            host.exec(source)
        assert host.call(abs, -1) == 1


# Many tasks -------------------------------------------------------------------------------------------------------


def test_a_burst_of_short_tasks_is_done_by_a_few_threads() -> None:
    tasks, most = [], 0
    for number in range(3000):
        tasks.append(atoll.spawn(abs, -number))
        if number % 100 == 0:
            most = max(most, *(info.threads for info in atoll.list_hosts()))
    assert [task.result(timeout=60) for task in tasks] == list(range(3000))
    assert most < 300


def test_as_many_tasks_as_block_at_once_have_threads() -> None:
    def block(started: atoll.Sender[int], gate: atoll.Receiver[int]) -> None:
        started.send(1)
        gate.recv()

    started, gate = atoll.Channel[int](None), atoll.Channel[int](None)
    tasks = [atoll.spawn(block, started.sender, gate.receiver) for _ in range(200)]
    for _ in tasks:
        started.recv(timeout=60)
    gate.send_many(range(200))
    for task in tasks:
        task.result(timeout=60)


# Speed ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.gettrace() is not None, reason="measures time")
def test_an_idle_host_uses_no_processor(host: atoll.Interpreter) -> None:
    host.call(abs, -1)
    before = time.process_time()
    threading.Event().wait(0.3)
    assert time.process_time() - before < 0.05

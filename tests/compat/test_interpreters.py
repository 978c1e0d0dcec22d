"""`atoll.compat.interpreters` on every Python: what CPython's own tests do not say, or say only from 3.14 on."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest
from tests.kinds import KINDS, skip_unless_available

import atoll
from atoll.compat import interpreters


@pytest.fixture
def interp():
    interp = interpreters.create()
    yield interp
    if interp in interpreters.list_all():
        interp.close()


def test_an_interpreter_is_a_host_whose_number_is_one_more(interp):
    hosts = {host.id: host for host in atoll.list_hosts()}

    assert hosts[interp.id + 1].kind == "interpreter"
    assert interpreters.get_main().id == 0
    assert interp.call(_current_id) == interp.id


def _current_id():
    return interpreters.get_current().id


def test_other_hosts_of_atoll_are_listed_but_not_to_be_touched():
    with atoll.Interpreter(kind="interpreter") as host:
        listed = {interp.id: interp for interp in interpreters.list_all()}

        assert listed[host.id - 1].whence == "C-API"
        with pytest.raises(interpreters.InterpreterError, match="not created by this module"):
            listed[host.id - 1].exec("pass")
        with pytest.raises(interpreters.InterpreterError):
            listed[host.id - 1].close()


def test_the_last_object_that_goes_ends_the_interpreter():
    interp = interpreters.create()
    number = interp.id
    del interp

    with pytest.raises(interpreters.InterpreterNotFoundError):
        interpreters.Interpreter(number)


def test_an_interpreter_that_another_one_made_ends_with_it(interp):
    interp.exec("from atoll.compat import interpreters; inner = interpreters.create()")
    number = interp.call(eval, "inner.id")
    interp.close()

    assert number not in [other.id for other in interpreters.list_all()]


def test_an_interpreter_takes_one_caller_at_a_time(interp):
    begun, gate = interpreters.create_queue(), interpreters.create_queue()
    thread = interp.call_in_thread(_wait_for, begun, gate)
    begun.get()
    try:
        assert interp.is_running()
        with pytest.raises(interpreters.InterpreterError, match="already running"):
            interp.exec("pass")
        with pytest.raises(interpreters.InterpreterError, match="running"):
            interp.close()
    finally:
        gate.put(None)
        thread.join()
    interp.exec("pass")


def _wait_for(begun, gate):
    begun.put(None)
    return gate.get()


def test_a_failure_arrives_as_execution_failed_with_its_description(interp):
    with pytest.raises(interpreters.ExecutionFailed) as caught:
        interp.exec("def f():\n    raise ValueError('no')\nf()")

    info = caught.value.excinfo
    assert (info.type.__name__, info.type.__module__, info.msg) == ("ValueError", "builtins", "no")
    assert info.formatted == "ValueError: no"
    assert "_inside.py" not in info.errdisplay
    assert "in f" in info.errdisplay
    assert "Uncaught in the interpreter:" in str(caught.value)


def test_the_errors_are_those_of_the_standard_library():
    import _interpqueues
    import _interpreters

    assert interpreters.InterpreterError is _interpreters.InterpreterError
    assert interpreters.NotShareableError is _interpreters.NotShareableError
    assert issubclass(interpreters.QueueEmpty, (queue.Empty, _interpqueues.QueueError))


@pytest.mark.parametrize(
    "value", [list(range(1000)), {"a": [1, 2.5, "x"]}, (1, (2, b"y")), 2**80, OSError(2, "gone"), len]
)
def test_what_can_be_pickled_goes_through_a_queue(value):
    q = interpreters.create_queue()
    q.put(value)

    got = q.get()
    assert type(got) is type(value)
    assert repr(got) == repr(value)


def test_a_closure_is_not_shareable(interp):
    word = "hello"
    with pytest.raises(interpreters.NotShareableError):
        interp.call(lambda: word)
    with pytest.raises(interpreters.NotShareableError):
        interpreters.create_queue().put(lambda: word)
    with pytest.raises(interpreters.NotShareableError):
        interpreters.create_queue().put({"nested": [lambda: word]})


def test_a_memoryview_in_a_queue_is_the_same_memory(interp):
    memory = bytearray(b"....")
    q = interpreters.create_queue()
    interp.prepare_main(q=q)
    q.put(memoryview(memory))

    interp.exec("view = q.get(); view[1:3] = b'ab'; view.release()")

    assert bytes(memory) == b".ab."


def test_a_queue_sent_through_a_queue_outlives_its_sender(interp):
    outer = interpreters.create_queue()
    interp.prepare_main(outer=outer)
    interp.exec(
        "from atoll.compat import interpreters\n"
        "inner = interpreters.create_queue(3)\n"
        "inner.put('kept'); outer.put(inner); outer.put(len)\n"
        "del inner"
    )
    inner = outer.get()

    assert (inner.maxsize, inner.get()) == (3, "kept")


def test_a_timeout_keeps_its_fraction():
    q = interpreters.create_queue()
    before = time.monotonic()
    with pytest.raises(interpreters.QueueEmpty):
        q.get(timeout=0.25)

    assert 0.25 <= time.monotonic() - before < 5


def test_a_getter_that_sleeps_is_woken_by_a_put(interp):
    there, back = interpreters.create_queue(), interpreters.create_queue()
    echo = interp.call_in_thread(_echo, there, back)
    trips = []
    for number in range(50):
        begun = time.perf_counter()
        there.put(number)
        assert back.get() == number
        trips.append(time.perf_counter() - begun)
    there.put(None)
    echo.join()

    assert sorted(trips)[len(trips) // 2] < 0.005  # the standard library's takes 10 ms: it polls


def _echo(there, back):
    while (item := there.get()) is not None:
        back.put(item)


def test_a_put_on_a_full_queue_waits_for_room():
    q = interpreters.create_queue(1)
    q.put("first")
    thread = threading.Thread(target=q.put, args=("second",))
    thread.start()

    assert [q.get(), q.get()] == ["first", "second"]
    thread.join()


def test_removed_items_are_skipped_by_a_getter_that_waits(interp):
    q = interpreters.create_queue()
    interp.prepare_main(q=q)
    interp.exec(
        "from atoll.compat.interpreters import _queues\n"
        "for n in range(3): q.put(n, unbounditems=_queues.UNBOUND_REMOVE)"
    )
    assert q.qsize() == 3
    interp.close()
    assert (q.qsize(), q.empty()) == (0, True)
    q.put("mine")

    assert q.get() == "mine"
    with pytest.raises(interpreters.QueueEmpty):
        q.get_nowait()


@pytest.mark.parametrize("kind", KINDS)
def test_a_queue_is_an_argument_of_atolls_own_tasks_too(kind):
    skip_unless_available(kind)
    q = interpreters.create_queue()
    back = atoll.Channel()
    task = atoll.spawn(_fill, q, back, kind=kind)

    assert [q.get() for _ in range(3)] == [0, "text", [1]]
    assert back.recv() is q
    task.result()


def _fill(q, back):
    for item in (0, "text", [1]):
        q.put(item)
    back.send(q)


def test_an_isolate_may_use_it_too():
    skip_unless_available("isolate")
    q = interpreters.create_queue()

    current, made, listed = atoll.run(_make_one, q, kind="isolate")

    assert q.get() is interpreters._queues.UNBOUND  # whoever put it is gone
    assert {0, current, made} <= set(listed)
    q.put(memoryview(b"here"))
    assert "another copy of Python" in atoll.run(_why_not, q, kind="isolate")


def _make_one(q):
    interp = interpreters.create()
    interp.prepare_main(q=q)
    interp.exec("q.put('from inside')")
    numbers = interpreters.get_current().id, interp.id, [other.id for other in interpreters.list_all()]
    interp.close()
    return numbers


def _why_not(q):
    try:
        q.get()
    except interpreters.NotShareableError as error:
        return str(error)


def test_a_queue_is_gone_with_its_last_object():
    number = interpreters.create_queue().id

    with pytest.raises(interpreters._queues.QueueNotFoundError):
        interpreters.Queue(number)


def test_a_pickled_queue_is_the_queue():
    q = interpreters.create_queue()

    assert pickle.loads(pickle.dumps(q)) is q


def test_ctrl_c_interrupts_a_call_that_waits():
    program = (
        "import signal, threading, os\n"
        "from atoll.compat import interpreters\n"
        "i = interpreters.create(); q = interpreters.create_queue(); begun = interpreters.create_queue()\n"
        "i.prepare_main(q=q, begun=begun)\n"
        "threading.Thread(target=lambda: (begun.get(), os.kill(os.getpid(), signal.SIGINT))).start()\n"
        "try: i.exec('begun.put(1); q.get()')\n"
        "except KeyboardInterrupt: print('interrupted')\n"
        "i.close(); print('closed')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert done.stdout.split() == ["interrupted", "closed"], done.stderr


def test_interpreters_left_open_do_not_hold_the_process():
    program = (
        "from atoll.compat import interpreters\n"
        "q = interpreters.create_queue(); i = interpreters.create(); i.prepare_main(q=q); i.exec('q.put(q)')\n"
        "j = interpreters.create(); j.exec('from atoll.compat import interpreters; k = interpreters.create()')\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_signal_constant_crosses(interp):
    assert interp.call(_returns, signal.SIGINT) is signal.SIGINT


def _returns(value):
    return value


def test_file_descriptors_do_not_leak():
    for _ in range(2):
        interp = interpreters.create()
        interp.exec("pass")
        interp.close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        interp = interpreters.create()
        q = interpreters.create_queue()
        interp.prepare_main(q=q)
        interp.close()

    assert len(os.listdir("/proc/self/fd")) <= before

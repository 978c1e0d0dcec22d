"""Interpreters of one's own."""

from __future__ import annotations

import gc
import math
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import atoll
from atoll import AtollError, Channel, Interpreter, RemoteTraceback


@pytest.fixture
def host() -> Iterator[Interpreter]:
    with Interpreter() as interpreter:
        yield interpreter


def spin(started: atoll.Sender[int]) -> None:
    started.send(1)
    while True:
        pass


def test_exec_runs_source_whose_names_stay(host: Interpreter) -> None:
    host.exec("x = 6")
    host.exec("y = x * 7")
    assert host.call(eval, "y", {"y": 42}) == 42
    host.exec("assert y == 42")


def test_exec_of_a_syntax_error_raises_it_here(host: Interpreter) -> None:
    with pytest.raises(SyntaxError):
        host.exec("x =")


def test_an_exception_out_of_exec_is_its_own_type_with_the_line_in_the_remote_traceback(host: Interpreter) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        host.exec("a = 1\nb = a / 0\n")
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "b = a / 0" in str(cause)


def test_an_exception_class_defined_there_arrives_with_its_name(host: Interpreter) -> None:
    with pytest.raises(Exception, match="wet") as caught:
        host.exec("class Leak(Exception): pass\nraise Leak('wet')")
    assert type(caught.value).__name__ == "Leak"


def test_exec_of_something_that_is_no_source_is_a_type_error(host: Interpreter) -> None:
    with pytest.raises(TypeError, match="call"):
        host.exec(print)  # type: ignore[arg-type]


def test_call_runs_a_function_there_and_returns_its_result(host: Interpreter) -> None:
    assert host.call(math.hypot, 3, 4) == 5
    assert host.call(lambda *, a: a + 1, a=1) == 2


def test_call_always_reaches_the_same_interpreter(host: Interpreter) -> None:
    host.call(lambda: sys.modules.__setitem__("marker", sys))
    assert host.call(lambda: "marker" in sys.modules)
    assert "marker" not in sys.modules


def test_call_tells_the_host_in_running(host: Interpreter) -> None:
    def where() -> int:
        current = atoll.running()
        assert current is not None
        return current.host_id

    assert host.call(where) == host.id


def test_calls_from_several_threads_run_at_once(host: Interpreter) -> None:
    gate: Channel[int] = Channel(0)
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(host.call(gate.receiver.recv)))
    thread.start()
    host.call(gate.sender.send, 5)
    thread.join()
    assert answers == [5]


def test_prepare_main_binds_names_for_exec(host: Interpreter) -> None:
    channel: Channel[int] = Channel(1)
    host.prepare_main({"out": channel.sender}, factor=3)
    host.exec("out.send(factor * 2)")
    assert channel.recv(timeout=30) == 6


def test_prepare_main_with_a_name_that_is_no_str_is_a_type_error(host: Interpreter) -> None:
    with pytest.raises(TypeError, match="names are str"):
        host.prepare_main({3: 4})  # type: ignore[dict-item]


def test_prepare_main_with_a_value_that_cannot_cross_names_it(host: Interpreter) -> None:
    with pytest.raises(atoll.CloneError) as caught:
        host.prepare_main(guard=[threading.Lock()])
    assert caught.value.type_name == "lock"
    assert "guard" in caught.value.path


def test_it_sees_the_path_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seen_from_the_path.py").write_text("value = 7")
    monkeypatch.syspath_prepend(str(tmp_path))
    with Interpreter() as host:
        host.exec("import seen_from_the_path as m; assert m.value == 7")


def test_a_path_of_its_own_replaces_the_path_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / f"only_{folder.name}.py").write_text("value = 8")
    monkeypatch.syspath_prepend(str(here))
    # With the same installed packages as the other tests: isolates with others are of use to nobody later.
    installed = [entry for entry in sys.path if "site-packages" in entry]
    with Interpreter(path=[there, *installed]) as host:
        host.exec("import only_there; assert only_there.value == 8")
        host.exec("import json, atoll, math")
        with pytest.raises(ImportError):
            host.exec("import only_here")
        with pytest.raises(ImportError):  # nor does a call bring it along
            host.call(exec, "import only_here")


def test_a_path_that_is_one_string_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="list of folders"):
        Interpreter(path="/tmp")


def test_modules_are_its_own(host: Interpreter) -> None:
    host.exec("import math; math.reef = 3")
    assert not hasattr(math, "reef")


def test_the_attributes_tell_what_it_is(kind: str) -> None:
    with Interpreter(name="lighthouse") as host:
        assert (host.kind, host.name) == (kind, "lighthouse")
        assert isinstance(host.id, int)
        assert f"{host!r}" == f"<atoll.Interpreter {host.id} 'lighthouse' {kind} idle>"
    assert repr(host).endswith("closed>")


def test_is_running_is_true_while_code_runs_there(host: Interpreter) -> None:
    started: Channel[int] = Channel()
    gate: Channel[int] = Channel()

    def wait() -> None:
        started.send(1)
        gate.recv()

    assert not host.is_running()
    thread = threading.Thread(target=lambda: host.call(wait))
    thread.start()
    started.recv(timeout=30)
    assert host.is_running()
    gate.send(1)
    thread.join()
    assert not host.is_running()


def test_without_a_name_it_is_called_after_its_kind(kind: str) -> None:
    with Interpreter() as host:
        assert host.name == f"{kind}-{host.id}"


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_kind_of_a_later_release_says_so(kind: str) -> None:
    with pytest.raises(atoll.HostUnavailable, match="not in this release"):
        Interpreter(kind)


def test_a_name_that_is_no_str_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="pass a str"):
        Interpreter(name=3)  # type: ignore[arg-type]


def test_an_interpreter_cannot_be_sent(host: Interpreter) -> None:
    with pytest.raises(atoll.CloneError, match="host in"):
        atoll.spawn(lambda: host.id)


# The end ---------------------------------------------------------------------------------------------------------


def test_close_is_idempotent() -> None:
    host = Interpreter()
    host.close()
    host.close()


@pytest.mark.parametrize(
    "use",
    [lambda host: host.exec("1"), lambda host: host.call(abs, 1), lambda host: host.prepare_main(a=1)],
    ids=["exec", "call", "prepare_main"],
)
def test_every_verb_of_a_closed_interpreter_is_an_error(use: Callable[[Interpreter], object]) -> None:
    host = Interpreter()
    host.close()
    assert not host.is_running()
    with pytest.raises(AtollError, match="closed"):
        use(host)


def test_close_cancels_what_runs_there() -> None:
    started: Channel[int] = Channel()
    errors: list[BaseException] = []

    def call() -> None:
        try:
            host.call(spin, started.sender)
        except BaseException as error:
            errors.append(error)

    host = Interpreter()
    thread = threading.Thread(target=call)
    thread.start()
    started.recv(timeout=30)
    host.close(timeout=30)
    thread.join()
    assert [type(error) for error in errors] == [atoll.TaskCancelled]


def test_close_while_senders_wait_for_its_receiver_ends_their_wait() -> None:
    channel: Channel[int] = Channel(0)
    sender = channel.sender
    ready: Channel[int] = Channel()

    host = Interpreter()
    host.prepare_main(receiver=channel.receiver)
    del channel
    gc.collect()
    failures: list[BaseException] = []

    def send() -> None:
        ready.send(1)
        try:
            sender.send(1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
        ready.recv(timeout=30)
    host.close(timeout=30)
    for thread in threads:
        thread.join()
    assert [type(error) for error in failures] == [atoll.ChannelClosed] * 4


def test_a_sender_there_is_gone_with_the_interpreter() -> None:
    channel: Channel[int] = Channel(4)
    receiver = channel.receiver
    host = Interpreter()
    host.prepare_main(sender=channel.sender)
    del channel
    host.exec("sender.send(1)")
    host.close()
    assert list(receiver) == [1]


def test_dropping_it_unclosed_warns_and_closes_it() -> None:
    hosts = [Interpreter(name="forgotten")]
    with pytest.warns(ResourceWarning, match="forgotten"):
        hosts.clear()


def test_an_error_in_the_with_block_comes_out_and_closes_it() -> None:
    with pytest.raises(LookupError), Interpreter() as host:
        raise LookupError
    assert repr(host).endswith("closed>")


def test_many_can_be_open_at_once(kind: str) -> None:
    isolates = atoll.capabilities().isolates
    count = 8 if kind == "interpreter" else min(8, isolates.fit - isolates.open)
    hosts = [Interpreter() for _ in range(count)]
    try:
        assert len({host.call(lambda: id(__import__("sys").modules)) for host in hosts}) == count >= 2
    finally:
        for host in hosts:
            host.close()

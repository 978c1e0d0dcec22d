"""Exceptions reach whoever asks, as their own type, whole; and someone in any case."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import atoll
from atoll import Channel, ChannelPoisoned, RemoteTraceback

type RunChild = Callable[[str], tuple[int, str, str]]


class PickyError(Exception):
    """Its `__init__` wants what `args` does not hold."""

    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text.upper())
        self.code = code
        self.detail = {"code": code}


class SlottedError(Exception):
    __slots__ = ("place",)


def raise_value_error() -> None:
    raise ValueError("no", 3)


def raise_picky_error() -> None:
    raise PickyError("bad luck", code=7)


def failure_of(fn: Callable[..., Any], *args: Any) -> BaseException:
    error = atoll.spawn(fn, *args).exception(timeout=30)
    assert error is not None
    return error


def test_the_original_type_reaches_result_with_its_arguments() -> None:
    with pytest.raises(ValueError, match="no") as caught:
        atoll.run(raise_value_error)
    assert caught.value.args == ("no", 3)


def test_the_cause_is_the_remote_traceback() -> None:
    cause = failure_of(raise_value_error).__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "in raise_value_error" in str(cause)
    assert "ValueError: ('no', 3)" in str(cause)


def test_the_remote_traceback_shows_no_frames_of_atoll() -> None:
    assert "_agent.py" not in str(failure_of(raise_value_error).__cause__)


def test_a_class_that_travelled_by_value_comes_back_as_itself() -> None:
    with pytest.raises(PickyError) as caught:
        atoll.run(raise_picky_error)
    assert caught.value.args == ("BAD LUCK",)
    assert caught.value.code == 7
    assert caught.value.detail == {"code": 7}


def test_a_class_that_came_back_keeps_its_own_methods() -> None:
    before = PickyError.__init__
    failure_of(raise_picky_error)
    assert PickyError.__init__ is before


def test_slots_arrive() -> None:
    def fail() -> None:
        error = SlottedError("x")
        error.place = "here"
        raise error

    error = failure_of(fail)
    assert isinstance(error, SlottedError)
    assert error.place == "here"


def test_an_os_error_keeps_its_file_name_and_subclass() -> None:
    error = failure_of(lambda: open("/no/such/file"))
    assert type(error) is FileNotFoundError
    assert error.filename == "/no/such/file"
    assert str(error) == "[Errno 2] No such file or directory: '/no/such/file'"


@pytest.mark.parametrize(
    ("fail", "text"),
    [
        (lambda: b"\xff".decode(), "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (lambda: compile("a b", "f.py", "exec"), "invalid syntax (f.py, line 1)"),
        (lambda: {}["k"], "'k'"),
        (lambda: __import__("no_such_module_at_all"), "No module named 'no_such_module_at_all'"),
        (lambda: json.loads("{"), "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (lambda: subprocess.run([sys.executable, "-c", "1/0"], check=True, stderr=-3), "non-zero exit status 1"),
    ],
    ids=["unicode", "syntax", "key", "import", "json", "subprocess"],
)
def test_exceptions_of_the_standard_library_arrive_with_their_text(fail: Callable[[], object], text: str) -> None:
    error = failure_of(fail)
    assert text in str(error)
    assert type(error).__name__ in "".join(traceback.format_exception_only(error))


def test_notes_arrive() -> None:
    def fail() -> None:
        error = ValueError("x")
        error.add_note("look here")
        raise error

    assert failure_of(fail).__notes__ == ["look here"]


def test_the_original_cause_is_kept_as_context() -> None:
    def fail() -> None:
        try:
            raise_value_error()
        except ValueError as error:
            raise KeyError("outer") from error

    error = failure_of(fail)
    assert isinstance(error, KeyError)
    assert isinstance(error.__context__, ValueError)
    assert "direct cause" in str(error.__cause__)


def test_a_cycle_of_contexts_arrives() -> None:
    def fail() -> None:
        first, second = ValueError(1), KeyError(2)
        first.__cause__ = second
        second.__cause__ = first
        raise first

    error = failure_of(fail)
    assert isinstance(error.__context__, KeyError)


def test_exception_groups_arrive_with_their_members() -> None:
    def fail() -> None:
        raise ExceptionGroup("many", [ValueError(1), ExceptionGroup("inner", [PickyError("x", code=2)])])

    error = failure_of(fail)
    assert isinstance(error, ExceptionGroup)
    assert repr(error.exceptions[0]) == "ValueError(1)"
    inner = error.exceptions[1]
    assert isinstance(inner, ExceptionGroup)
    assert isinstance(inner.exceptions[0], PickyError)


def test_an_argument_that_cannot_be_pickled_becomes_its_repr() -> None:
    def fail() -> None:
        raise ValueError("locked", threading.Lock())

    error = failure_of(fail)
    assert isinstance(error, ValueError)
    assert error.args[0] == "locked"
    assert "lock object" in error.args[1]


def test_a_class_that_cannot_be_sent_becomes_its_base_and_says_so() -> None:
    def fail() -> None:
        lock = threading.Lock()

        class BoundError(LookupError):
            held = lock

        raise BoundError("gone")

    error = failure_of(fail)
    assert type(error) is LookupError
    assert error.args == ("gone",)
    assert "BoundError" in error.__notes__[0]


def test_an_exception_whose_str_raises_arrives() -> None:
    class RudeError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def fail() -> None:
        raise RudeError

    assert type(failure_of(fail)).__name__ == "RudeError"


def test_recursion_without_end_arrives_as_recursion_error() -> None:
    def endless(depth: int) -> int:
        return endless(depth + 1) + 1

    assert isinstance(failure_of(endless, 0), RecursionError)
    assert atoll.run(abs, -1) == 1


def test_a_very_deep_traceback_is_kept_at_both_ends() -> None:
    def descend(depth: int) -> None:
        if depth:
            descend(depth - 1)
        else:
            raise ValueError("at the bottom")

    def start() -> None:
        sys.setrecursionlimit(20_000)
        descend(5000)

    with atoll.Interpreter() as host, pytest.raises(ValueError, match="bottom") as caught:
        host.call(start)
    text = str(caught.value.__cause__)
    assert "in start" in text
    assert "ValueError: at the bottom" in text
    assert "frames in the middle of the traceback are left out" in text


@pytest.mark.parametrize(
    ("fail", "expected"),
    [(lambda: sys.exit(3), SystemExit), (lambda: exec("raise KeyboardInterrupt"), KeyboardInterrupt)],
    ids=["SystemExit", "KeyboardInterrupt"],
)
def test_an_exit_inside_a_task_ends_that_task_only(fail: Callable[[], object], expected: type[BaseException]) -> None:
    assert type(failure_of(fail)) is expected
    assert atoll.run(abs, -2) == 2


def test_the_code_of_sys_exit_arrives() -> None:
    error = failure_of(lambda: sys.exit(3))
    assert isinstance(error, SystemExit)
    assert error.code == 3


def test_a_result_that_cannot_be_cloned_fails_the_task_and_names_it() -> None:
    with pytest.raises(atoll.CloneError) as caught:
        atoll.run(lambda: {"rows": [1, (n for n in "ab")]})
    assert caught.value.path == "result['rows'][1]"
    assert caught.value.type_name == "generator"


def test_the_locals_of_a_failed_task_are_released_with_it() -> None:
    def fail(messages: atoll.Receiver[int]) -> None:
        messages.recv()
        raise ValueError

    channel: Channel[int] = Channel(1)
    sender = channel.sender
    task = atoll.spawn(fail, channel.receiver)
    channel.send(1)
    del channel
    task.join(30)
    with pytest.raises(atoll.ChannelClosed):  # the last receiver went with the task
        sender.send(2)
    assert isinstance(task.exception(), ValueError)


# Poison ----------------------------------------------------------------------------------------------------------


def test_a_task_that_ends_by_poison_passes_it_on() -> None:
    def relay(source: atoll.Receiver[int], target: atoll.Sender[int]) -> None:
        for message in source:
            target.send(message)

    source: Channel[int] = Channel()
    target: Channel[int] = Channel()
    task = atoll.spawn(relay, source.receiver, target.sender)
    source.poison("bad water")
    with pytest.raises(ChannelPoisoned) as caught:
        target.recv(timeout=30)
    assert caught.value.reason == "bad water"
    assert isinstance(task.exception(timeout=30), ChannelPoisoned)


def test_poison_passes_through_captured_ends() -> None:
    source: Channel[int] = Channel()
    target: Channel[int] = Channel()

    def relay() -> None:
        target.send(source.recv())

    task = atoll.spawn(relay)
    source.poison("deep")
    with pytest.raises(ChannelPoisoned, match="deep"):
        target.recv(timeout=30)
    assert isinstance(task.exception(timeout=30), ChannelPoisoned)


def test_a_task_that_handles_the_poison_does_not_pass_it_on() -> None:
    def careful(source: atoll.Receiver[int], target: atoll.Sender[str]) -> None:
        try:
            source.recv()
        except atoll.ChannelPoisoned:
            target.send("handled")

    source: Channel[int] = Channel()
    target: Channel[str] = Channel()
    atoll.spawn(careful, source.receiver, target.sender)
    source.poison()
    assert target.recv(timeout=30) == "handled"


# Nobody asked ----------------------------------------------------------------------------------------------------


def test_a_failure_nobody_asked_for_goes_to_the_unraisable_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_value))
    task = atoll.spawn(raise_value_error, name="lost")
    task.join(30)
    del task
    gc.collect()
    (report,) = reports
    assert "task 'lost' failed and nobody asked" in str(report)
    assert "in raise_value_error" in str(report)
    assert isinstance(report.__cause__, ValueError)


def test_a_failure_that_was_asked_for_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_value))
    atoll.spawn(raise_value_error).exception(timeout=30)
    gc.collect()
    assert reports == []


def test_a_cancelled_task_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_value))
    channel: Channel[int] = Channel()
    task = atoll.spawn(lambda: channel.recv())
    task.cancel()
    task.join(30)
    del task
    gc.collect()
    assert reports == []


def test_a_failure_after_the_task_was_dropped_is_reported_at_the_next_start(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_value))
    gate: Channel[int] = Channel()
    ended: Channel[int] = Channel(None)

    def fail_later() -> None:
        gate.recv()
        raise ValueError("late")

    task = atoll.spawn(fail_later, name="dropped")
    handle = task._handle
    assert handle is not None
    del task
    handle.notify(ended.sender, 1)  # told after whoever asked before: the keeper of dropped tasks
    gate.send(1)
    ended.recv(timeout=30)
    atoll.run(abs, 1)
    assert ["late" in str(report) for report in reports] == [True]


def test_a_failure_of_a_dropped_task_is_reported_at_exit_at_the_latest(run_child: RunChild) -> None:
    code, _, err = run_child(
        """
        import atoll

        def fail(gate):
            gate.recv()
            raise ValueError("late")

        gate = atoll.Channel()
        task = atoll.spawn(fail, gate.receiver)
        handle = task._handle
        del task
        gate.send(1)
        handle.wait(None)
        """
    )
    assert code == 0
    assert err.count("Exception ignored") == 1
    assert "nobody asked for its outcome" in err
    assert "ValueError: late" in err


def test_what_a_call_was_given_is_let_go_with_its_error_and_without_the_collector() -> None:
    def fail(_: atoll.Sender[int]) -> None:
        raise ValueError("no")

    sender = (channel := Channel[int]()).sender
    receiver = channel.receiver
    del channel
    gc.disable()
    try:
        with pytest.raises(ValueError, match="no"):
            atoll.run(fail, sender)
        del sender
        with pytest.raises(atoll.ChannelClosed):
            receiver.recv(5.0)
    finally:
        gc.enable()

"""Exceptions in messages: nothing of them is lost, whatever their constructor wants."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest

import atoll


class Picky(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class WithSlots(Exception):
    __slots__ = ("detail",)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_class_arguments_and_attributes_arrive() -> None:
    error = Picky(4, reason="odd")
    copy = atoll.clone(error)
    assert type(copy) is Picky
    assert (copy.args, copy.code, copy.reason) == (("4: odd",), 4, "odd")


def test_notes_slots_and_the_attributes_of_built_in_classes_arrive() -> None:
    error = WithSlots("a")
    error.detail = [1]
    error.add_note("look here")
    copy = atoll.clone(error)
    assert (copy.detail, copy.__notes__) == ([1], ["look here"])
    missing = atoll.clone(FileNotFoundError(2, "No such file", "a.txt"))
    assert (missing.errno, missing.filename, type(missing)) == (2, "a.txt", FileNotFoundError)
    stop = atoll.clone(StopIteration([5]))
    assert stop.value == [5]
    name = atoll.clone(NameError("x", name="x"))
    assert name.name == "x"
    decoding = atoll.clone(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"))
    assert str(decoding) == str(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"))


def test_cause_context_and_suppression_arrive() -> None:
    error = Picky(1, reason="a")
    error.__cause__ = ValueError("cause")
    error.__context__ = KeyError("context")
    copy = atoll.clone(error)
    assert repr(copy.__cause__) == "ValueError('cause')"
    assert repr(copy.__context__) == "KeyError('context')"
    assert copy.__suppress_context__ is True
    assert atoll.clone(KeyError("x")).__suppress_context__ is False


def test_groups_arrive_with_their_members() -> None:
    shared = ValueError("v")
    group = ExceptionGroup("all", [shared, ExceptionGroup("some", [Picky(1, reason="r"), shared])])
    copy = atoll.clone(group)
    assert (copy.message, len(copy.exceptions)) == ("all", 2)
    inner: Any = copy.exceptions[1]
    assert inner.exceptions[1] is copy.exceptions[0]
    assert inner.exceptions[0].reason == "r"


def test_the_traceback_arrives_as_the_text_of_the_last_cause() -> None:
    error = raised(Picky(1, reason="here"))
    copy = atoll.clone(error)
    assert isinstance(copy.__cause__, atoll.RemoteTraceback)
    assert "in raised" in str(copy.__cause__)
    assert "in raised" in "".join(traceback.format_exception(copy))


def test_an_own_cause_stays_the_cause() -> None:
    error = Picky(1, reason="outer")
    error.__cause__ = raised(ValueError("inner"))
    copy = atoll.clone(raised(error))
    assert type(copy.__cause__) is ValueError
    assert isinstance(copy.__cause__.__cause__, atoll.RemoteTraceback)


def test_an_exception_that_rebuilds_itself_does_so_and_keeps_the_rest() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    error = caught.value
    error.add_note("note")
    error.__cause__ = KeyError("k")
    copy = atoll.clone(error)
    assert (copy.msg, copy.pos, copy.doc) == (error.msg, error.pos, "{")
    assert copy.__notes__ == ["note"]
    assert repr(copy.__cause__) == "KeyError('k')"


def test_a_cycle_of_exceptions_is_kept() -> None:
    first, second = ValueError(1), ValueError(2)
    first.__context__, second.__context__ = second, first
    copy = atoll.clone(first)
    assert copy.__context__ is not None
    assert copy.__context__.__context__ is copy


def test_what_an_exception_holds_is_refused_by_its_path() -> None:
    with pytest.raises(atoll.CloneError) as caught:
        atoll.clone(ValueError("x", (number for number in ())))
    assert caught.value.type_name == "generator"

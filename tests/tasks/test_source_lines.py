"""The lines of a remote traceback that only the interpreter of the caller knows."""

from __future__ import annotations

import linecache

import atoll
from atoll._source_lines import filled

FRAME = 'Traceback (most recent call last):\n  File "<a cell>", line 2, in fail\nValueError: no\n'


def test_a_frame_of_typed_code_gets_its_line(monkeypatch) -> None:
    monkeypatch.setitem(
        linecache.cache, "<a cell>", (10, None, ["def fail():\n", "    raise ValueError('no')\n"], "<a cell>")
    )

    assert filled(FRAME).splitlines()[2] == "    raise ValueError('no')"
    assert filled(filled(FRAME)) == filled(FRAME)


def test_a_frame_whose_line_nobody_knows_stays_as_it_is() -> None:
    assert filled(FRAME) == FRAME


def test_names_that_any_code_may_bear_are_left_alone(monkeypatch) -> None:
    monkeypatch.setitem(linecache.cache, "<string>", (10, None, ["a\n", "b\n"], "<string>"))
    text = FRAME.replace("<a cell>", "<string>")

    assert filled(text) == text


def test_frames_inside_a_group_keep_their_bars(monkeypatch) -> None:
    monkeypatch.setitem(linecache.cache, "<a cell>", (10, None, ["x\n", "culprit()\n"], "<a cell>"))
    text = '    |   File "<a cell>", line 2, in fail\n    | ValueError: no\n'

    assert filled(text).splitlines()[1] == "    |     culprit()"


def test_a_task_of_a_function_without_a_file_fails_with_its_line(monkeypatch) -> None:
    source = "def fail():\n    raise LookupError('typed')\n"
    monkeypatch.setitem(linecache.cache, "<cell 7>", (len(source), None, source.splitlines(keepends=True), "<cell 7>"))
    names = {"__name__": "__main__"}
    exec(compile(source, "<cell 7>", "exec"), names)

    error = atoll.spawn(names["fail"], kind="interpreter").exception()

    assert "    raise LookupError('typed')" in str(error.__cause__)

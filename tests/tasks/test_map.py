"""`atoll.map`: the built-in's results, lazily, from other interpreters."""

from __future__ import annotations

import builtins
import gc
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atoll
from atoll import Channel

type RunChild = Callable[[str], tuple[int, str, str]]


def square(number: int) -> int:
    return number * number


def invert(number: int) -> float:
    return 1 / number


def test_results_are_those_of_the_builtin_in_order() -> None:
    assert list(atoll.map(square, range(1000))) == list(builtins.map(square, range(1000)))


def test_several_iterables_are_zipped() -> None:
    assert list(atoll.map(pow, [2, 3, 4], itertools.count())) == [1, 3, 16]


def test_an_empty_iterable_gives_nothing() -> None:
    assert list(atoll.map(square, [])) == []


@settings(max_examples=15, deadline=None)
@given(
    numbers=st.lists(st.integers(), max_size=200),
    workers=st.none() | st.integers(1, 5),
    chunksize=st.none() | st.integers(1, 50),
)
def test_any_input_with_any_settings_equals_the_builtin(
    numbers: list[int], workers: int | None, chunksize: int | None
) -> None:
    assert list(atoll.map(square, numbers, workers=workers, chunksize=chunksize)) == [n * n for n in numbers]


def test_an_infinite_iterable_is_read_a_bounded_way_ahead() -> None:
    taken = itertools.count()
    results = atoll.map(square, builtins.map(lambda _: next(taken), itertools.repeat(None)), workers=2, chunksize=5)
    assert [next(results) for _ in range(20)] == [n * n for n in range(20)]
    results.close()  # type: ignore[attr-defined]
    assert next(taken) <= 20 + 2 * 3 * 5 + 5


def test_nothing_is_read_before_the_first_next() -> None:
    source = iter([1, 2])
    results = atoll.map(square, source)
    assert next(source) == 1
    assert list(results) == [4]


def test_the_first_failing_call_raises_in_its_place_with_its_own_type() -> None:
    results = atoll.map(invert, [1, 2, 0, 4], chunksize=3)
    assert [next(results), next(results)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert isinstance(caught.value.__cause__, atoll.RemoteTraceback)
    assert "mapping.py" not in str(caught.value.__cause__)
    assert list(results) == []


def test_a_source_that_fails_does_so_after_the_results_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("dry")

    results = atoll.map(square, source())
    assert [next(results), next(results)] == [1, 4]
    with pytest.raises(LookupError, match="dry"):
        next(results)


def test_a_result_that_cannot_be_cloned_names_it_after_the_results_before_it() -> None:
    def pick(number: int) -> object:
        return [number] if number < 2 else [{"lock": threading.Lock()}]

    results = atoll.map(pick, range(4), chunksize=4)
    assert [next(results), next(results)] == [[0], [1]]
    with pytest.raises(atoll.CloneError) as caught:
        next(results)
    assert caught.value.path == "result[0]['lock']"


def test_an_argument_that_cannot_be_cloned_is_a_clone_error() -> None:
    with pytest.raises(atoll.CloneError) as caught:
        list(atoll.map(print, range(20), [*range(10), threading.Lock(), *range(20)], chunksize=4))
    assert (caught.value.path, caught.value.type_name) == ("iterables[1][10]", "lock")


def test_sys_exit_in_a_call_reaches_the_caller() -> None:
    with pytest.raises(SystemExit):
        list(atoll.map(lambda _: sys.exit(2), [1]))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"workers": 0}, ValueError, "workers=0"),
        ({"workers": -1}, ValueError, "workers=-1"),
        ({"workers": True}, TypeError, "workers=True"),
        ({"workers": 1.5}, TypeError, "workers=1.5"),
        ({"chunksize": 0}, ValueError, "chunksize=0"),
        ({"chunksize": "a"}, TypeError, "chunksize='a'"),
    ],
)
def test_bad_arguments_raise_at_the_call(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        atoll.map(square, [1], **arguments)


def test_no_iterable_raises_at_the_call() -> None:
    with pytest.raises(TypeError, match="no iterable"):
        atoll.map(square)


def test_something_not_iterable_raises_at_the_call() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        atoll.map(square, 3)  # type: ignore[arg-type]


def test_something_not_callable_raises_at_the_call() -> None:
    with pytest.raises(TypeError, match="not callable"):
        atoll.map(3, [1])  # type: ignore[arg-type]


def test_a_function_that_cannot_be_sent_raises_at_the_call() -> None:
    lock = threading.Lock()
    with pytest.raises(atoll.CloneError):
        atoll.map(lambda _: lock, [1])


def test_a_kind_of_a_later_release_is_refused() -> None:
    with pytest.raises(atoll.HostUnavailable):
        list(atoll.map(square, [1], kind="process"))


@pytest.mark.parametrize("end", ["close", "drop"])
def test_closing_or_dropping_the_iterator_ends_the_workers(end: str) -> None:
    alive: Channel[int] = Channel(None)
    sender, receiver = alive.sender, alive.receiver
    del alive

    def busy(number: int, sender: atoll.Sender[int]) -> int:
        sender.send(number)
        while number:  # the first call returns, the others never do
            pass
        return number

    results = atoll.map(busy, itertools.count(), itertools.repeat(sender), workers=2)
    assert next(results) == 0
    sender.close()
    if end == "close":
        results.close()  # type: ignore[attr-defined]
    del results
    gc.collect()
    for _ in receiver:  # ends when the last sender is gone: with the last worker
        pass


def test_calls_run_at_the_same_time() -> None:
    meeting: Channel[int] = Channel(0)

    def meet(number: int) -> int:
        # A rendezvous of two calls: none of them ends unless the other runs.
        if number % 2:
            meeting.send(number)
            return number
        return meeting.recv()

    assert list(atoll.map(meet, [0, 1], workers=2, chunksize=1)) == [1, 1]


def test_progress_draws_a_bar_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(atoll.map(square, range(10), progress=True)) == [n * n for n in range(10)]
    captured = capsys.readouterr()
    assert "10/10" in captured.err
    assert captured.out == ""


def test_progress_of_an_iterable_without_length_has_no_total(capsys: pytest.CaptureFixture[str]) -> None:
    list(atoll.map(square, iter(range(10)), progress=True))
    assert "10it" in capsys.readouterr().err


def test_progress_without_tqdm_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"atoll\[progress\]"):
        atoll.map(square, [1], progress=True)


def test_map_inside_a_task_works() -> None:
    assert atoll.run(lambda: list(atoll.map(pow, range(5), itertools.repeat(2)))) == [0, 1, 4, 9, 16]


def test_two_maps_at_once_do_not_disturb_each_other() -> None:
    first, second = atoll.map(square, range(100)), atoll.map(invert, range(1, 101))
    assert list(zip(first, second, strict=True)) == [(n * n, 1 / (n + 1)) for n in range(100)]

"""Every kind of function gets to the other side, and what cannot says so by name."""

from __future__ import annotations

import enum
import functools
import math
import operator
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import atoll
from atoll import Channel, CloneError, _shipping

type RunChild = Callable[[str], tuple[int, str, str]]

offset = 10


def add_offset(number: int) -> int:
    return number + offset


def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: Any) -> Any:
        return ["logged", fn(*args)]

    return wrapper


@logged
def decorated(number: int) -> int:
    return number * 2


class Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def apply(self, number: int) -> int:
        return self.factor * number

    def __call__(self, number: int) -> int:
        return -self.apply(number)

    @classmethod
    def double(cls, number: int) -> int:
        return cls(2).apply(number)

    @staticmethod
    def triple(number: int) -> int:
        return 3 * number


class Color(enum.Enum):
    RED = 1

    def label(self) -> str:
        return self.name.lower()


def how(fn: Callable[..., Any]) -> str:
    return _shipping.pack(fn)[0]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that can be imported, in a folder that was not on the path when the workers started."""
    atoll.run(abs, 1)
    name = f"harbour_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(
        "import functools\n"
        "def dock(ship): return f'{ship} in dock'\n"
        "def twice(fn):\n"
        "    @functools.wraps(fn)\n"
        "    def wrapper(*args): return fn(*args) * 2\n"
        "    return wrapper\n"
        "@twice\n"
        "def load(ship): return [ship]\n"
        "raw_load = load.__wrapped__\n"
        "class Crane:\n"
        "    def lift(self, ship): return ship.upper()\n"
        "    @staticmethod\n"
        "    def drop(ship): return ship.lower()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__(name)
    del sys.modules[name]


# By name ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fn", "args", "expected"),
    [
        (math.sqrt, (4.0,), 2.0),
        (len, ("abc",), 3),
        (str.upper, ("a",), "A"),
        (int, ("7",), 7),
        (operator.add, (1, 2), 3),
    ],
    ids=["math.sqrt", "len", "str.upper", "int", "operator.add"],
)
def test_builtins_travel_by_name(fn: Callable[..., Any], args: tuple[Any, ...], expected: object) -> None:
    assert how(fn) == "name"
    assert atoll.run(fn, *args) == expected


def test_an_importable_function_travels_by_name_even_from_a_folder_added_later(module: Any) -> None:
    assert how(module.dock) == "name"
    assert atoll.run(module.dock, "Argo") == "Argo in dock"


def test_a_decorated_function_travels_by_name_as_its_module_has_it(module: Any) -> None:
    assert how(module.load) == "name"
    assert atoll.run(module.load, "Argo") == ["Argo", "Argo"]


def test_the_undecorated_function_travels_by_value_because_its_name_means_another(module: Any) -> None:
    assert how(module.raw_load) == "value"
    assert atoll.run(module.raw_load, "Argo") == ["Argo"]


def test_a_static_method_travels_by_name(module: Any) -> None:
    assert how(module.Crane.drop) == "name"
    assert atoll.run(module.Crane.drop, "ARGO") == "argo"


def test_a_name_that_was_rebound_travels_by_value(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = module.dock
    monkeypatch.setattr(module, "dock", lambda ship: "stolen")
    assert how(original) == "value"
    assert atoll.run(original, "Argo") == "Argo in dock"


# By value --------------------------------------------------------------------------------------------------------


def test_a_lambda_a_nested_function_and_a_closure_travel_by_value() -> None:
    base = 5

    def nested(number: int) -> int:
        return number + base

    assert atoll.run(lambda: 42) == 42
    assert atoll.run(nested, 1) == 6


def test_a_function_brings_the_functions_and_classes_it_uses() -> None:
    def outer(number: int) -> int:
        return Scale(3).apply(add_offset(number))

    assert atoll.run(outer, 1) == 33


def test_bound_methods_travel_with_their_object() -> None:
    assert atoll.run(Scale(4).apply, 3) == 12
    assert atoll.run(Scale.double, 3) == 6
    assert atoll.run(Scale.triple, 3) == 9
    assert atoll.run(Scale(4), 3) == -12
    assert atoll.run("-".join, ["a", "b"]) == "a-b"


def test_a_bound_method_of_an_importable_object_travels(module: Any) -> None:
    assert atoll.run(module.Crane().lift, "argo") == "ARGO"


def test_partials_travel() -> None:
    assert atoll.run(functools.partial(pow, 2), 10) == 1024
    assert atoll.run(functools.partial(add_offset, 1)) == add_offset(1)


def test_decorated_functions_of_a_script_travel() -> None:
    assert atoll.run(decorated, 4) == ["logged", 8]


def test_enum_members_in_a_closure_keep_their_methods() -> None:
    color = Color.RED
    assert atoll.run(lambda: color.label()) == "red"


def test_a_recursive_function_travels() -> None:
    def factorial(number: int) -> int:
        return 1 if number < 2 else number * factorial(number - 1)

    assert atoll.run(factorial, 10) == 3628800


def test_a_closure_over_a_channel_works_and_each_task_has_its_own_ends() -> None:
    channel: Channel[int] = Channel(4)

    def send() -> None:
        channel.send(1)

    for _ in range(3):
        atoll.run(send)
    assert [channel.recv(timeout=30) for _ in range(3)] == [1, 1, 1]


def test_a_captured_sender_is_released_at_the_end_of_its_task() -> None:
    channel: Channel[int] = Channel(4)
    sender, receiver = channel.sender, channel.receiver
    del channel

    def send() -> None:
        sender.send(1)

    task = atoll.spawn(send)
    task.join(30)
    send.__closure__[0].cell_contents.close()  # type: ignore[index]
    assert list(receiver) == [1]


def test_a_function_whose_globals_changed_is_sent_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [atoll.run(add_offset, 1) for _ in range(2)] == [11, 11]
    monkeypatch.setitem(globals(), "offset", 20)
    assert atoll.run(add_offset, 1) == 21
    monkeypatch.setitem(globals(), "offset", 10)
    assert atoll.run(add_offset, 1) == 11


def test_a_function_whose_captured_variable_changed_is_sent_anew() -> None:
    count = 0

    def read() -> int:
        return count

    results = []
    for count in range(3):
        results.append(atoll.run(read))
    assert results == [0, 1, 2]


def test_a_function_whose_list_changed_in_place_is_sent_anew() -> None:
    seen: list[int] = []

    def read() -> int:
        return len(seen)

    assert atoll.run(read) == 0
    seen.append(1)
    assert atoll.run(read) == 1


def test_a_function_whose_default_or_code_changed_is_sent_anew() -> None:
    def read(value: int = 1) -> int:
        return value

    assert atoll.run(read) == 1
    read.__defaults__ = (2,)
    assert atoll.run(read) == 2
    read.__code__ = (lambda value: value + 100).__code__
    assert atoll.run(read) == 102


def test_a_global_that_was_missing_and_then_defined_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> object:
        return len("abc")

    assert atoll.run(read) == 3
    monkeypatch.setitem(globals(), "len", lambda _: "mine")
    assert atoll.run(read) == "mine"


def test_an_unchanged_plain_function_is_pickled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(number: int) -> int:
        return math.floor(number) + add_offset(number)

    first = _shipping.pack(plain)
    monkeypatch.setattr(_shipping, "dump", lambda _: pytest.fail("pickled again"))
    again = _shipping.pack(plain)
    assert again[1] == first[1]
    assert again[3] is first[3]


def test_the_same_content_has_the_same_key() -> None:
    def make() -> Callable[[], int]:
        return lambda: 3

    assert _shipping.pack(make())[1] == _shipping.pack(make())[1]


def test_a_blob_is_unpickled_once_in_an_interpreter() -> None:
    def count_calls(calls: list[int] = []) -> int:  # noqa: B006
        calls.append(1)
        return len(calls)

    # One function object serves both calls there: its default list remembers.
    with atoll.Interpreter() as host:
        assert [host.call(count_calls), host.call(count_calls)] == [1, 2]


def test_functions_of_main_work_in_a_script(run_child: RunChild) -> None:
    code, out, err = run_child(
        """
        import atoll

        class Boom(Exception):
            def __init__(self, where):
                super().__init__(f"at {where}")
                self.where = where

        factor = 3

        def scale(number):
            if number < 0:
                raise Boom(number)
            return factor * number

        print(atoll.run(scale, 2), list(atoll.map(scale, range(4))))
        factor = 5
        print(atoll.run(scale, 2))
        try:
            atoll.run(scale, -1)
        except Boom as error:
            print("caught", error, error.where)
        """
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == ["6 [0, 3, 6, 9]", "10", "caught at -1 -1"]


def test_functions_of_an_interactive_session_work(start_child: Callable[[str], Any]) -> None:
    child = start_child(
        """
        import code
        session = code.InteractiveInterpreter({"__name__": "__main__"})
        for line in ["import atoll", "def f(x): return x + 1\\n", "print(atoll.run(f, 1))", "g = lambda: f(41)",
                     "print(atoll.run(g))"]:
            session.runsource(line)
        """
    )
    code, out, err = child.end()
    assert (code, out, err) == (0, "2\n42\n", "")


def test_a_function_of_a_module_made_at_run_time_travels_by_value() -> None:
    import types

    module = types.ModuleType("made_at_run_time")
    exec("def shout(text): return prefix + text\nprefix = '!'", vars(module))
    sys.modules["made_at_run_time"] = module
    try:
        assert atoll.run(module.shout, "hey") == "!hey"
    finally:
        del sys.modules["made_at_run_time"]


# Refusals --------------------------------------------------------------------------------------------------------


def test_a_captured_lock_is_named() -> None:
    guard = threading.Lock()

    def work() -> None:
        with guard:
            pass

    with pytest.raises(CloneError) as caught:
        atoll.spawn(work)
    assert caught.value.path.startswith("guard in ")
    assert caught.value.type_name == "lock"
    assert "Channel" in caught.value.hint


def test_a_captured_generator_is_named_with_its_path() -> None:
    jobs = [{"source": None}, {"source": (n for n in range(3))}]

    with pytest.raises(CloneError) as caught:
        atoll.spawn(lambda: jobs)
    assert caught.value.path.startswith("jobs[1]['source'] in ")
    assert caught.value.type_name == "generator"


def test_a_captured_socket_is_named() -> None:
    with socket.socket() as connection, pytest.raises(CloneError) as caught:
        atoll.spawn(lambda: connection.fileno())
    assert caught.value.path.startswith("connection in ")
    assert "address" in caught.value.hint


def test_a_lock_inside_the_object_of_a_bound_method_is_named() -> None:
    scale = Scale(2)
    scale.guard = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(CloneError) as caught:
        atoll.spawn(scale.apply, 1)
    assert caught.value.path.startswith("self.guard in ")


def test_a_lock_in_a_partial_is_named() -> None:
    with pytest.raises(CloneError) as caught:
        atoll.spawn(functools.partial(print, threading.Lock()))
    assert caught.value.path.startswith("args[0] in ")


def test_a_callable_object_whose_getattr_raises_travels() -> None:
    class Moody:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

        def __call__(self) -> int:
            return 3

    assert atoll.run(Moody()) == 3


def test_something_nested_too_deep_is_refused_without_a_crash() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CloneError, match="nested too deep"):
        atoll.spawn(lambda: deep)


def test_the_text_of_the_error_follows_the_formula() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    source = numbers()
    with pytest.raises(CloneError, match=r"^cannot clone source in .*<lambda> \(generator\); send a list"):
        atoll.spawn(lambda: next(source))

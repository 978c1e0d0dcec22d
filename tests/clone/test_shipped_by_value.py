"""Classes and functions that cannot be imported: they travel by value, once per content and interpreter."""

from __future__ import annotations

import gc
import types
import weakref
from typing import Any

import pytest
from tests.kinds import kind  # noqa: F401 - a fixture of every test here

import atoll


class Job:
    """Of a module that travels by value, as those of scripts do."""

    factor = 2

    def __init__(self, number: int) -> None:
        self.number = number

    def doubled(self) -> int:
        return self.number * self.factor


def receive(receiver: atoll.Receiver[Any], back: atoll.Sender[Any]) -> list[bool]:
    """Take two messages, send both back, say what held."""
    first, second = receiver.recv(timeout=30), receiver.recv(timeout=30)
    back.send([first, second])
    return [type(first[0]) is type(second[0]), type(first[0]) is type(first[1]), first[0].doubled() == 2]


def test_a_class_is_the_same_object_each_time_it_arrives() -> None:
    there: atoll.Channel[Any] = atoll.Channel(4)
    back: atoll.Channel[Any] = atoll.Channel(4)
    task = atoll.spawn(receive, there.receiver, back.sender)
    there.send([Job(1), Job(2)])
    there.send([Job(3)])
    assert task.result(timeout=60) == [True, True, True]
    first, second = back.recv(timeout=30)
    assert [type(job) for job in (*first, *second)] == [Job] * 3


def make_and_return() -> Any:
    class Local:
        def hello(self) -> str:
            return "hello"

    return [Local(), Local()]


def test_a_class_that_was_made_elsewhere_arrives_with_its_methods() -> None:
    first, second = atoll.run(make_and_return)
    assert type(first) is type(second)
    assert first.hello() == "hello"
    assert type(atoll.clone(first)) is type(first)


def test_a_class_that_was_redefined_is_another_class() -> None:
    def define(answer: int) -> type:
        class Redefined:
            def answer(self) -> int:
                return answer

        return Redefined

    for answer in (1, 2):
        cls = define(answer)
        assert atoll.clone(cls) is cls
        assert atoll.run(lambda value: value.answer(), cls()) == answer


def test_a_method_that_changes_is_up_to_date_where_it_arrives() -> None:
    class Changing:
        def answer(self) -> int:
            return 1

    value = Changing()
    assert atoll.run(lambda value: value.answer(), value) == 1
    Changing.answer = lambda self: 2  # type: ignore[method-assign]
    assert atoll.run(lambda value: value.answer(), value) == 2


def helper() -> int:
    return 1


class Helped:
    def answer(self) -> int:
        return helper()


def test_a_function_that_a_method_calls_is_up_to_date_where_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    value = Helped()
    for answer in (1, 2, 3):
        monkeypatch.setitem(globals(), "helper", lambda answer=answer: answer)
        assert atoll.run(lambda value: value.answer(), value) == answer


def test_an_unchanged_class_is_pickled_once() -> None:
    from atoll import _clone

    class Constant:
        def answer(self) -> int:
            return 1

    atoll.clone(Constant())
    record = _clone._shipped[Constant]
    atoll.clone(Constant())
    assert _clone._shipped[Constant] is record
    Constant.other = 2  # type: ignore[attr-defined]
    assert atoll.clone(Constant()).other == 2  # type: ignore[attr-defined]
    assert _clone._shipped[Constant] is not record


def test_functions_and_their_closures_travel_in_messages() -> None:
    base = 10
    copies = atoll.clone([lambda number: number + base, lambda: Job(base).doubled()])
    assert (copies[0](1), copies[1]()) == (11, 20)


def clone_a_closure_over(data: Large) -> weakref.ref[Large]:
    assert atoll.clone(lambda: data.content)() == data.content
    return weakref.ref(data)


def test_a_closure_over_much_data_is_not_held_for_later() -> None:
    died = clone_a_closure_over(Large(b"x" * 100_000))
    gc.collect()
    assert died() is None


class Large:
    def __init__(self, content: bytes) -> None:
        self.content = content


def test_a_function_may_hold_the_end_of_a_channel() -> None:
    channel: atoll.Channel[int] = atoll.Channel(1)
    sender = channel.sender

    def answer(number: int) -> None:
        sender.send(number)

    atoll.clone({"call": answer})["call"](5)
    assert channel.recv(timeout=30) == 5


def test_a_closure_that_cannot_travel_is_refused_with_its_name() -> None:
    generator = (number for number in ())
    with pytest.raises(atoll.CloneError) as caught:
        atoll.clone({"jobs": [lambda: generator]})
    assert caught.value.path.startswith("value['jobs'][0] → generator in ")
    assert caught.value.type_name == "generator"


def test_a_module_made_at_run_time_is_refused() -> None:
    with pytest.raises(atoll.CloneError, match="sys.path"):
        atoll.clone([types.ModuleType("made_here")])


@pytest.mark.parametrize("value", [lambda: 1, Job], ids=["function", "class"])
def test_code_that_another_version_could_not_run_says_so(value: object) -> None:
    from atoll import _clone

    key, blob, ends = _clone.ship(value)
    with pytest.raises(atoll.CloneError, match="does not understand"):
        _clone.load_shipped(b"another content...", b"\0" * 4 + bytes(blob)[4:], ends)
    assert _clone.load_shipped(key, blob, ends) is value


def test_many_messages_hold_the_code_of_a_class_once() -> None:
    class Large:
        text = "x" * 20_000

        def __init__(self, number: int) -> None:
            self.number = number

    def resident_bytes() -> int:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    channel: atoll.Channel[Any] = atoll.Channel(2000)
    channel.send(Large(-1))
    before = resident_bytes()
    for number in range(1999):
        channel.send(Large(number))
    assert resident_bytes() - before < 10_000_000
    assert [channel.recv().number for _ in range(2000)] == [-1, *range(1999)]


def test_a_function_is_pickled_once_until_something_that_it_reaches_changes() -> None:
    from atoll import _clone

    step = 1

    def add(number: int, extra: int = 0) -> int:
        return number + step + extra

    def arrives() -> int:
        return atoll.run(lambda function: function(10), atoll.clone(add))

    first = _clone.ship(add)
    assert _clone.ship(add) is first
    assert arrives() == 11
    step = 2
    assert _clone.ship(add) is not first
    assert arrives() == 12
    add.__defaults__ = (100,)
    assert arrives() == 112
    add.__code__ = (lambda number, extra: number).__code__.replace(co_freevars=("step",))
    assert arrives() == 10
    add.note = "kept"  # type: ignore[attr-defined]
    assert atoll.clone(add).note == "kept"


def raise_own(receiver: atoll.Receiver[Any]) -> str:
    try:
        receiver.recv(timeout=30)
    except atoll.ChannelPoisoned as error:
        return f"{type(error.reason).__name__} {error.reason.number}"
    return "nothing"


def test_a_reason_of_a_class_by_value_reaches_everybody() -> None:
    channel: atoll.Channel[Any] = atoll.Channel(1)
    tasks = [atoll.spawn(raise_own, channel.receiver) for _ in range(2)]
    channel.poison(Job(7))
    assert [task.result(timeout=60) for task in tasks] == ["Job 7", "Job 7"]
    assert raise_own(channel.receiver) == "Job 7"

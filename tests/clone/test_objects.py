"""Real objects: what arrives equals what was sent, of the same class, with the same sharing."""

from __future__ import annotations

import argparse
import array
import collections
import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import gc
import io
import ipaddress
import math
import pathlib
import re
import sys
import threading
import types
import uuid
import zoneinfo
from typing import Any, NamedTuple

import pytest

import atoll


@dataclasses.dataclass
class Order:
    number: int
    lines: list[str]

    def total(self) -> int:
        return self.number * len(self.lines)


@dataclasses.dataclass(slots=True)
class Slotted:
    x: int
    y: object = None


@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    x: int
    y: tuple[int, ...] = ()


class Mixed(Slotted):
    """Slots of its base, and a `__dict__`."""


class Unset:
    __slots__ = ("a", "b")


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.Enum):
    RED = 1
    BLUE = object()


class Flags(enum.Flag):
    A = 1
    B = 2


class Names(list[str]):
    """A list with attributes."""


class Stateful:
    def __init__(self, secret: int) -> None:
        self.secret = secret
        self.lock = threading.Lock()

    def __getstate__(self) -> int:
        return self.secret

    def __setstate__(self, state: int) -> None:
        self.secret = state
        self.lock = threading.Lock()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stateful) and other.secret == self.secret

    __hash__ = None  # type: ignore[assignment]


class Guarded:
    """A class that lets nobody set attributes."""

    def __init__(self) -> None:
        self.__dict__["x"] = 1

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


EQUAL = [
    datetime.datetime(2026, 11, 20, 12, 30, tzinfo=datetime.UTC),
    datetime.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("UTC")),
    datetime.date(2026, 1, 1), datetime.time(12), datetime.timedelta(days=3, microseconds=1),
    decimal.Decimal("1.50"), fractions.Fraction(1, 3), uuid.UUID(int=5), pathlib.Path("/a/b"),
    collections.deque([1, 2], maxlen=5), collections.OrderedDict(b=1, a=2), collections.defaultdict(list, {1: [2]}),
    collections.Counter("abca"), collections.ChainMap({1: 2}, {3: 4}), types.MappingProxyType({1: 2}),
    array.array("d", [1.5, 2.5]), array.array("B"), re.compile("a+", re.IGNORECASE),
    ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.0/8"), types.SimpleNamespace(a=[1]),
    Point(1, 2), Colour.RED, Flags.A, Flags.A | Flags.B, Names(["a"]), Order(1, ["a", "b"]), Slotted(1, [2]),
    Frozen(1, (2,)), Stateful(7), math.sin, len, "abc".upper, [].append.__class__, Order,
    int, type(None), types, list[int],
]  # fmt: skip


@pytest.mark.parametrize("value", EQUAL, ids=lambda value: type(value).__name__)
def test_a_clone_equals_its_original_and_has_its_class(value: Any) -> None:
    for copy in (atoll.clone(value), atoll.clone([value, value])[1], atoll.clone({"k": value})["k"]):
        if not callable(value) or isinstance(value, type):
            assert copy == value
        assert type(copy) is type(value)


@pytest.mark.parametrize("value", EQUAL, ids=lambda value: type(value).__name__)
def test_an_object_met_twice_comes_back_as_one(value: Any) -> None:
    first, second = atoll.clone([value, value])
    assert first is second


def test_members_of_an_enum_are_themselves_whatever_their_value() -> None:
    assert atoll.clone(Colour.BLUE) is Colour.BLUE
    assert atoll.clone({Colour.RED: [Colour.BLUE]}) == {Colour.RED: [Colour.BLUE]}


def test_attributes_that_are_no_fields_travel_too() -> None:
    order = Order(1, [])
    order.note = "late"  # type: ignore[attr-defined]
    mixed = Mixed(1, [2])
    mixed.extra = mixed  # type: ignore[attr-defined]
    names = Names("a")
    names.owner = names  # type: ignore[attr-defined]
    copies = atoll.clone((order, mixed, names))
    assert copies[0].note == "late"  # type: ignore[attr-defined]
    assert (copies[1].x, copies[1].y) == (1, [2])
    assert copies[1].extra is copies[1]  # type: ignore[attr-defined]
    assert copies[2].owner is copies[2]  # type: ignore[attr-defined]


def test_slots_without_a_value_stay_so() -> None:
    unset = Unset()
    unset.b = 2  # type: ignore[attr-defined]
    copy = atoll.clone(unset)
    assert copy.b == 2  # type: ignore[attr-defined]
    assert not hasattr(copy, "a")


def test_no_method_of_a_plain_class_is_called() -> None:
    assert vars(atoll.clone(Guarded())) == {"x": 1}


def test_views_keep_their_form() -> None:
    view = memoryview(array.array("i", range(6))).cast("B").cast("i", (2, 3))
    copy = atoll.clone(view)
    assert (copy.format, copy.shape, copy.tolist()) == (view.format, view.shape, view.tolist())
    assert atoll.clone(memoryview(b"abc")).readonly
    assert atoll.clone(memoryview(bytearray(b"abcdef"))[::2]).tobytes() == b"ace"


def test_callables_work_where_they_arrive() -> None:
    order = Order(3, ["a", "b"])
    assert atoll.clone(order.total)() == 6
    assert atoll.clone(functools.partial(int, "101", base=2))() == 5
    assert atoll.clone([].append).__name__ == "append"
    assert atoll.clone(datetime.date.fromisoformat)("2026-01-01") == datetime.date(2026, 1, 1)


def test_text_streams_and_iterators_that_can_be_copied_are() -> None:
    stream = io.BytesIO(b"abc")
    stream.seek(1)
    assert atoll.clone(stream).read() == b"bc"
    assert list(atoll.clone(collections.deque([1, 2]))) == [1, 2]


class Node:
    def __init__(self, parent: Node | None) -> None:
        self.parent = parent
        self.children: set[Node] = set()
        self.pair: tuple[object, ...] = (self, self.children)


def test_cycles_through_instances_sets_and_tuples_are_kept() -> None:
    root = Node(None)
    root.children |= {Node(root), Node(root)}
    copy = atoll.clone(root)
    assert {child.parent for child in copy.children} == {copy}
    assert copy.pair == (copy, copy.children)
    assert len(copy.children) == 2


def test_a_frozenset_that_an_element_refers_to_arrives() -> None:
    node = Node(None)
    frozen = frozenset({node})
    node.pair = (frozen,)
    for copy in (atoll.clone(frozen), atoll.clone([frozen, frozen])[1], atoll.clone(node).pair[0]):
        (member,) = copy
        assert member.pair == (frozenset({member}),)


class Called:
    """Rebuilt by a call with what may refer back to it."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __reduce__(self) -> tuple[Any, ...]:
        return Called, (self.items,)


def test_a_cycle_through_the_arguments_of_a_call_is_kept() -> None:
    called = Called([])
    called.items.append(called)
    copy = atoll.clone([called, called])
    assert copy[0] is copy[1]
    assert copy[0].items[0] is copy[0]


class Endless:
    def __reduce__(self) -> tuple[Any, ...]:
        return Endless, (self,)


def test_an_object_that_needs_itself_to_be_made_is_refused() -> None:
    with pytest.raises(atoll.CloneError, match="nested 10000 deep"):
        atoll.clone(Endless())


def test_a_long_chain_of_instances_does_not_exhaust_the_stack() -> None:
    head: Slotted | None = None
    for number in range(4_000):
        head = Slotted(number, head)
    copy: Any = atoll.clone(head)
    for number in reversed(range(4_000)):
        assert copy.x == number
        copy = copy.y
    assert copy is None


class Shifty:
    """Changes the graph while it is walked."""

    def __init__(self, victim: list[Any]) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        self.victim.clear()
        self.victim.append([0] * 100)
        return int, ("7",)


def test_a_graph_that_changes_under_the_walk_is_copied_as_it_was_met() -> None:
    for _ in range(50):
        victim: list[Any] = []
        victim += [Shifty(victim), [1], {"a": [2]}, (3,), {4}]
        copy = atoll.clone([victim, 1])
        assert copy == [[7, [1], {"a": [2]}, (3,), {4}], 1]


class Elsewhere:
    """Asks another walk while this one is under way."""

    def __reduce__(self) -> tuple[Any, ...]:
        assert atoll.clone([{"a": 1}, Order(1, [])]) == [{"a": 1}, Order(1, [])]
        return _made_elsewhere, ()


def _made_elsewhere() -> object:
    return atoll.clone([{"b": 2}, Order(2, [])])


def test_a_walk_may_start_another_on_either_side() -> None:
    copy = atoll.clone([{"a": 0}, Elsewhere(), {"a": 0}])
    assert copy == [{"a": 0}, [{"b": 2}, Order(2, [])], {"a": 0}]


class Failing:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        raise self.error


def test_a_reducer_that_fails_is_named_and_nothing_is_sent() -> None:
    channel: atoll.Channel[Any] = atoll.Channel(1)
    order = Order(1, [channel.sender, Failing(ValueError("broken"))])  # type: ignore[list-item]
    before = channel.stats()
    with pytest.raises(atoll.CloneError, match="ValueError: broken") as caught:
        channel.send(order)
    assert caught.value.path == "message.lines[1]"
    assert isinstance(caught.value.__cause__, ValueError)
    assert channel.stats() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), RecursionError()])
def test_what_is_no_fault_of_the_object_is_raised_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        atoll.clone([Failing(error)])
    assert caught.value is error


def test_a_constructor_that_fails_raises_where_the_object_is_rebuilt() -> None:
    with pytest.raises(ZeroDivisionError):
        atoll.clone([_Divided(0)])


class _Divided:
    def __init__(self, by: int) -> None:
        self.by = by

    def __reduce__(self) -> tuple[Any, ...]:
        return _divide, (self.by,)


def _divide(by: int) -> float:
    return 1 / by


def test_reducers_of_copyreg_are_heard_also_after_the_first_clone() -> None:
    class Late:
        def __init__(self, value: int) -> None:
            self.value = value

    assert atoll.clone(Late(1)).value == 1
    copyreg.pickle(Late, lambda late: (Late, (late.value + 1,)))
    try:
        assert atoll.clone(Late(1)).value == 2
    finally:
        copyreg.dispatch_table.pop(Late)
    assert atoll.clone(Late(1)).value == 1


def test_a_class_that_changes_is_looked_at_again() -> None:
    class Changing:
        pass

    assert type(atoll.clone(Changing())) is Changing
    Changing.__reduce__ = lambda self: (int, ("5",))
    assert atoll.clone(Changing()) == 5  # type: ignore[comparison-overlap]


def test_the_clone_of_many_objects_leaks_nothing() -> None:
    order = argparse.Namespace(number=1, lines=["a"])
    value: list[Any] = [order, datetime.date(2026, 1, 1), types.SimpleNamespace(a=[order]), collections.deque([order])]
    value += [uuid.UUID(int=1), fractions.Fraction(1, 2), collections.OrderedDict(a=order), ValueError(order)]
    growth = []
    for _ in range(6):  # memory that Python keeps for itself comes to rest
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(300):
            atoll.clone(value)
        gc.collect()
        growth.append(sys.getallocatedblocks() - before)
    assert min(growth) < 150


def test_what_is_imported_comes_back_as_itself() -> None:
    assert atoll.clone(math.sqrt) is math.sqrt
    assert atoll.clone(dataclasses.dataclass) is dataclasses.dataclass
    assert atoll.clone(collections.OrderedDict) is collections.OrderedDict
    assert atoll.clone(types) is types

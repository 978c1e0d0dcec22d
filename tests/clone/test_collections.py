"""Classes of `collections`, which are read without Python code: with all that they hold and have beside it."""

from __future__ import annotations

import collections
import selectors
import typing
import uuid
from collections import OrderedDict, defaultdict, deque
from typing import Any

import pytest

import atoll

Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - these, too, are sent


class Typed(typing.NamedTuple):
    x: int
    y: tuple[int, ...] = ()

    def total(self) -> int:
        return self.x + sum(self.y)


class WithAttributes(Point):
    """Has a `__dict__`."""


class WithoutAttributes(Point):
    __slots__ = ()


class WithState(collections.namedtuple("Base", "x")):  # type: ignore[misc] # noqa: PYI024 - these, too, are sent
    __slots__ = ()

    def __reduce__(self) -> Any:
        return WithState, (self.x + 1,)


@pytest.mark.parametrize(
    "value",
    [
        deque(),
        deque([1, [2], "three"]),
        deque([1, 2], 5),
        deque(maxlen=0),
        Point(1, [2]),
        Typed(1),
        Typed(1, (3,)),
        WithoutAttributes(1, 2),
        defaultdict(None, a=1),
        defaultdict(list, {1: [2], (3, 4): {}}),
        OrderedDict(),
        OrderedDict(b=1, a=2),
        uuid.uuid4(),
        selectors.SelectorKey(1, 2, 3, deque([Point(1, 2)])),
    ],
)
def test_each_arrives_alone_and_among_others(value: Any) -> None:
    for copy in (atoll.clone(value), atoll.clone([value, object])[0], atoll.clone({"a": (value, value)})["a"][1]):
        assert copy == value
        assert type(copy) is type(value)
        assert repr(copy) == repr(value)


def test_what_they_have_beside_what_they_hold_arrives() -> None:
    assert atoll.clone(deque([1], 7)).maxlen == 7
    assert atoll.clone(deque([1])).maxlen is None
    copy = atoll.clone(defaultdict(list))
    copy["new"].append(1)
    assert copy == {"new": [1]}
    assert atoll.clone(defaultdict(lambda: 5))["x"] == 5
    assert atoll.clone(Typed(1, (2,))).total() == 3
    attributed = WithAttributes(1, 2)
    attributed.note = "kept"  # type: ignore[attr-defined]
    assert atoll.clone(attributed).note == "kept"
    ordered = OrderedDict(a=1)
    ordered.note = "kept"  # type: ignore[attr-defined]
    assert atoll.clone(ordered).note == "kept"
    assert atoll.clone(WithState(1)).x == 2


def test_an_ordered_dict_keeps_its_own_order() -> None:
    ordered = OrderedDict(a=1, b=2, c=3)
    ordered.move_to_end("a")
    ordered.move_to_end("c", last=False)
    assert list(atoll.clone(ordered)) == ["c", "b", "a"]


def test_cycles_through_each_end() -> None:
    queue: deque[Any] = deque()
    queue.append(queue)
    copy = atoll.clone(queue)
    assert copy[0] is copy

    table: Any = defaultdict(list)
    table["self"] = table
    copy = atoll.clone(table)
    assert copy["self"] is copy

    items: list[Any] = []
    point = Point(items, 1)
    items.append(point)
    copy = atoll.clone(point)
    assert copy.x[0] is copy
    assert len(copy.x) == 1
    copy = atoll.clone(items)
    assert copy[0].x is copy

    class Factory:
        def __call__(self) -> int:
            return 0

    factory = Factory()
    table = defaultdict(factory)
    factory.table = table  # type: ignore[attr-defined]
    copy = atoll.clone(table)
    assert copy.default_factory.table is copy


def test_sharing_is_kept() -> None:
    point = Point(1, 2)
    queue = deque([point, point])
    first, second, alone = atoll.clone([queue, queue, point])
    assert first is second
    assert first[0] is first[1] is alone


def test_a_culprit_inside_is_named() -> None:
    with pytest.raises(atoll.CloneError) as caught:
        atoll.clone({"jobs": deque([1, Point(1, (number for number in ()))])})
    assert caught.value.path == "value['jobs'][1].args[1]"


@pytest.mark.parametrize(
    ("make", "inside", "most"),
    [
        (lambda inner: Point(inner, 0), lambda point: point.x, 9_990),
        (lambda inner: deque([inner]), lambda queue: queue[0], 4_990),
    ],
)
def test_what_can_be_sent_can_be_rebuilt_however_deep(make: Any, inside: Any, most: int) -> None:
    value: Any = None
    for _ in range(most):
        value = make(value)
    copy, depth = atoll.clone(value), 0
    while copy is not None:
        copy, depth = inside(copy), depth + 1
    assert depth == most
    for _ in range(100):
        value = make(value)
    with pytest.raises(atoll.CloneError, match="nested"):
        atoll.clone(value)


def test_a_deep_key_arrives() -> None:
    key: Any = 0
    for _ in range(90):
        key = Point(key, 0)
    assert atoll.clone({key: 1}) == {key: 1}


def test_a_registered_meaning_comes_first() -> None:
    from atoll import _clone

    atoll.register(Point, reduce=lambda point: point.x, rebuild=lambda x: Point(x, "registered"))
    try:
        assert atoll.clone(Point(1, 2)) == Point(1, "registered")
    finally:
        del _clone._registered[Point]
        atoll._native.forget_plans()
    assert atoll.clone(Point(1, 2)) == Point(1, 2)

"""Graphs of instances among built-in objects: a clone is what copy.deepcopy makes, with the same sharing."""

from __future__ import annotations

import argparse
import collections
import copy
import dataclasses
import datetime
import decimal
import selectors
import types
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import atoll

type Graph = Any


@dataclasses.dataclass(eq=False)
class Record:
    left: Graph = None
    right: Graph = None


@dataclasses.dataclass(slots=True, eq=False)
class Compact:
    left: Graph = None
    right: Graph = None


class Pickled:
    """Takes itself apart by a call with arguments, and a state."""

    def __init__(self, left: Graph) -> None:
        self.left = left
        self.right: Graph = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Pickled, (None,), {"left": self.left, "right": self.right}


LEAVES = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=5),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.binary(min_size=60, max_size=70),
)
Pair = collections.namedtuple("Pair", "first second")  # noqa: PYI024 - these, too, are sent
KINDS_OF_PYTHON = ["holder", "leaf"]
KINDS_OF_C = ["list", "dict", "deque", "short deque", "ordered", "default", "tuple", "pair", "key"]
HOLDERS = (Record, Compact, Pickled, argparse.Namespace, types.SimpleNamespace)


@st.composite
def graphs(draw: st.DrawFn, kinds: list[str] = KINDS_OF_C + KINDS_OF_PYTHON) -> Graph:
    """Some nodes of these kinds, each of which may hold any of the others."""
    nodes: list[Graph] = [draw(LEAVES if "leaf" in kinds else st.integers())]
    holders: list[Graph] = []
    for _ in range(draw(st.integers(1, 10))):
        kind = draw(st.sampled_from(kinds))
        match kind:
            case "holder":
                cls = draw(st.sampled_from(HOLDERS))
                node = cls(None) if cls is Pickled else cls()
            case "list":
                node = []
            case "dict":
                node = {}
            case "deque":
                node = collections.deque()
            case "short deque":
                node = collections.deque(maxlen=3)
            case "ordered":
                node = collections.OrderedDict()
            case "default":
                node = collections.defaultdict(draw(st.sampled_from([None, list, collections.deque])))
            case "tuple":
                node = tuple(draw(st.lists(st.sampled_from(nodes), max_size=3)))
            case "pair":
                node = Pair(draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes)))
            case "key":
                node = selectors.SelectorKey(*draw(st.tuples(*[st.sampled_from(nodes)] * 4)))
            case _:
                node = draw(LEAVES)
        nodes.append(node)
        if kind not in ("tuple", "pair", "key", "leaf"):
            holders.append(node)
    any_node = st.sampled_from(nodes)
    for node in holders:
        if isinstance(node, list | collections.deque):
            node.extend(draw(st.lists(any_node, max_size=4)))
        elif isinstance(node, dict):
            node.update(draw(st.lists(st.tuples(st.text(max_size=3), any_node), max_size=4)))
        else:
            node.left, node.right = draw(any_node), draw(any_node)
    return nodes


def parts_of(node: Graph) -> list[Graph]:
    match node:
        case list() | tuple() | collections.deque():
            return list(node)
        case dict():
            return [*node.keys(), *node.values()]
        case Compact():
            return [node.left, node.right]
        case _:
            return [part for pair in sorted(vars(node).items()) for part in pair]


def traits_of(node: Graph) -> Graph:
    """What a holder has beside its parts."""
    return getattr(node, "maxlen", None), getattr(node, "default_factory", None)


def same_shape(one: Graph, other: Graph) -> bool:
    """Whether two graphs are equal node by node, and what is one holder here is one holder there."""
    partners: dict[int, int] = {}
    origins: dict[int, int] = {}
    pending = [(one, other)]
    while pending:
        one, other = pending.pop()
        if type(one) is not type(other):
            return False
        if not isinstance(one, (list, tuple, dict, collections.deque, *HOLDERS)):
            if one != other:
                return False
            continue
        if id(one) in partners:
            if partners[id(one)] != id(other):
                return False
            continue
        partners[id(one)] = id(other)
        if origins.setdefault(id(other), id(one)) != id(one) and not isinstance(one, tuple):
            return False
        mine, theirs = parts_of(one), parts_of(other)
        if len(mine) != len(theirs) or traits_of(one) != traits_of(other):
            return False
        pending += zip(mine, theirs, strict=True)
    return True


@settings(max_examples=400, deadline=None)
@given(graphs())
def test_a_clone_of_any_graph_of_objects_is_what_deepcopy_makes(graph: Graph) -> None:
    assert same_shape(copy.deepcopy(graph), atoll.clone(graph))


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_a_clone_of_objects_has_the_shape_of_its_original(graph: Graph) -> None:
    assert same_shape(graph, atoll.clone(graph))


@settings(max_examples=400, deadline=None)
@given(graphs(KINDS_OF_C))
def test_a_clone_of_collections_has_the_shape_of_its_original(graph: Graph) -> None:
    assert same_shape(graph, atoll.clone(graph))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.builds(Record, LEAVES, st.builds(Compact, LEAVES, st.lists(LEAVES))), max_size=20), st.integers(0, 3)
)
def test_records_come_through_a_channel(records: list[Record], repeat: int) -> None:
    channel: atoll.Channel[list[Record]] = atoll.Channel(1)
    message = records * repeat
    channel.send(message)
    assert same_shape(message, channel.recv())


def test_decimals_keep_their_form() -> None:
    for text in ("1.50", "-0", "NaN", "sNaN12", "1E+100", "Infinity"):
        assert str(atoll.clone(decimal.Decimal(text))) == text
    assert atoll.clone(datetime.datetime(2026, 1, 1, fold=1)).fold == 1

"""Whatever graph is made of built-in types, its clone has the same shape: generated graphs, against copy.deepcopy."""

from __future__ import annotations

import copy
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import atoll

type Graph = Any

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(),
    st.complex_numbers(allow_nan=False),
    st.text(st.characters()),
    st.text(st.characters(categories=["Cs", "L"]), max_size=5),
    st.text("ab", min_size=60, max_size=70),
    st.binary(),
    st.binary(min_size=60, max_size=70),
    st.builds(range, st.integers(), st.integers(), st.integers(min_value=1)),
    st.sampled_from([..., NotImplemented]),
)
KEYS = st.one_of(st.none(), st.integers(), st.text(max_size=30), st.binary(max_size=10))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Some nodes, each of which may hold any number of the others, itself included where Python allows it."""
    nodes: list[Graph] = []
    unfilled: list[list[Graph] | dict[Graph, Graph]] = []
    hashable: list[Graph] = []
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["scalar", "list", "dict", "tuple", "frozenset", "set", "bytearray", "slice"]))
        earlier = st.sampled_from(nodes) if nodes else SCALARS
        elements = st.one_of(KEYS, st.sampled_from(hashable)) if hashable else KEYS
        match kind:
            case "scalar":
                node = draw(SCALARS)
            case "list":
                node = []
                unfilled.append(node)
            case "dict":
                node = {}
                unfilled.append(node)
            case "tuple":
                node = tuple(draw(st.lists(earlier, max_size=4)))
            case "frozenset":
                node = frozenset(draw(st.lists(elements, max_size=4)))
                hashable.append(node)
            case "set":
                node = set(draw(st.lists(elements, max_size=4)))
            case "bytearray":
                node = bytearray(draw(st.binary(max_size=10)))
            case _:
                node = slice(draw(earlier), draw(earlier), draw(SCALARS))
        nodes.append(node)
        if draw(st.booleans()):
            key = tuple(draw(st.lists(elements, max_size=3)))
            hashable.append(key)
            nodes.append(key)
    any_node = st.sampled_from(nodes)
    any_key = st.one_of(KEYS, st.sampled_from(hashable)) if hashable else KEYS
    for node in unfilled:
        if isinstance(node, list):
            node.extend(draw(st.lists(any_node, max_size=6)))
        else:
            node.update(draw(st.lists(st.tuples(any_key, any_node), max_size=6)))
    return draw(st.one_of(any_node, st.just(nodes)))


def same_shape(one: Graph, other: Graph) -> bool:
    """Whether two graphs are equal node by node, and what is one container here is one container there."""
    partners: dict[int, int] = {}
    origins: dict[int, int] = {}
    pending = [(one, other)]
    while pending:
        one, other = pending.pop()
        if type(one) is not type(other):
            return False
        if isinstance(one, float):
            if struct.pack("<d", one) != struct.pack("<d", other):
                return False
            continue
        if not isinstance(one, list | dict | tuple | set | frozenset | bytearray | slice):
            if one != other:
                return False
            continue
        if id(one) in partners:
            if partners[id(one)] != id(other):
                return False
            continue
        partners[id(one)] = id(other)
        if isinstance(one, list | dict | set | bytearray) and origins.setdefault(id(other), id(one)) != id(one):
            return False
        match one:
            case list() | tuple():
                if len(one) != len(other):
                    return False
                pending += zip(one, other, strict=True)
            case dict():
                if len(one) != len(other):
                    return False
                pending += zip(one.keys(), other.keys(), strict=True)
                pending += zip(one.values(), other.values(), strict=True)
            case slice():
                pending += [(one.start, other.start), (one.stop, other.stop), (one.step, other.step)]
            case _:
                if one != other:
                    return False
    return True


@settings(max_examples=500, deadline=None)
@given(graphs())
def test_any_graph_of_built_in_types_comes_back_with_its_shape(graph: Graph) -> None:
    assert same_shape(graph, atoll.clone(graph))


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_a_clone_is_what_deepcopy_makes(graph: Graph) -> None:
    assert same_shape(copy.deepcopy(graph), atoll.clone(graph))


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_a_clone_of_a_clone_is_the_same(graph: Graph) -> None:
    assert same_shape(graph, atoll.clone(atoll.clone(graph)))


@settings(max_examples=200, deadline=None)
@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=60))
def test_any_tree_comes_through_a_channel(tree: Graph) -> None:
    channel: atoll.Channel[Graph] = atoll.Channel(1)
    channel.send(tree)
    assert same_shape(tree, channel.recv())

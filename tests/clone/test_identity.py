"""Inside one message, what was one object stays one object."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import atoll


@pytest.mark.parametrize(
    "shared",
    [
        [1],
        (1, [2]),
        {"a": 1},
        {1},
        frozenset({1}),
        bytearray(b"x"),
        range(9),
        slice(1),
        "long text " * 10,
        b"data" * 20,
    ],
    ids=lambda shared: type(shared).__name__,
)
def test_an_object_met_twice_comes_back_as_one(shared: object) -> None:
    first, (second,), third = atoll.clone([shared, (shared,), {"key": shared}])
    assert first == shared
    assert first is second
    assert first is third["key"]


def test_equal_objects_that_are_not_one_stay_apart() -> None:
    first, second = atoll.clone([[1], [1]])
    assert first is not second


def test_a_list_can_hold_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    copy = atoll.clone(loop)
    assert copy is not loop
    assert len(copy) == 1
    assert copy[0] is copy


def test_a_dict_can_hold_itself() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    copy = atoll.clone(loop)
    assert list(copy) == ["self"]
    assert copy["self"] is copy


def test_a_tuple_can_hold_itself_through_a_list() -> None:
    loop: tuple[list[Any], int] = ([], 1)
    loop[0].append(loop)
    copy = atoll.clone(loop)
    assert copy[0][0] is copy
    assert copy[1] == 1


def test_a_slice_can_hold_itself_through_a_list() -> None:
    items: list[Any] = []
    loop = slice(items, 2, None)
    items.append(loop)
    copy = atoll.clone(loop)
    assert copy.start[0] is copy
    assert (copy.stop, copy.step) == (2, None)


def test_a_cycle_may_start_below_the_root() -> None:
    parent: dict[str, Any] = {"name": "parent", "children": []}
    for name in ("a", "b"):
        parent["children"].append({"name": name, "parent": parent})
    copy = atoll.clone([0, parent])[1]
    assert [child["parent"] is copy for child in copy["children"]] == [True, True]


def test_a_root_that_its_own_graph_refers_to_comes_back_once() -> None:
    root: list[Any] = []
    root.append((root,))
    copy = atoll.clone(root)
    assert copy[0][0] is copy
    copy = atoll.clone(root[0])
    assert copy[0][0] is copy


def test_a_key_that_is_also_a_value_comes_back_as_one() -> None:
    key = (1, (2, 3))
    copy = atoll.clone([{key: key}, {key}, key])
    (first,) = copy[0]
    assert copy[0][first] is first
    assert next(iter(copy[1])) is first
    assert copy[2] is first


def test_many_shared_objects_are_told_apart() -> None:
    shared = [[number] for number in range(20_000)]
    copy = atoll.clone([shared, shared[::-1]])
    assert all(one is other for one, other in zip(copy[0], reversed(copy[1]), strict=True))
    assert [number for (number,) in copy[0]] == list(range(20_000))


def test_messages_share_nothing_with_each_other() -> None:
    shared = [1]
    first = atoll.clone([shared])
    second = atoll.clone([shared])
    assert first[0] is not second[0]


def test_threads_clone_at_once_without_mixing_up() -> None:
    failures = []

    def work(seed: int) -> None:
        shared = [seed]
        value = {"seed": seed, "shared": [shared, shared], "text": f"text {seed} " * 20}
        for _ in range(2000):
            copy = atoll.clone(value)
            if copy != value or copy["shared"][0] is not copy["shared"][1]:
                failures.append(copy)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_equal_keys_of_different_dicts_come_back_as_one_str() -> None:
    copies = atoll.clone([{"identifier": number} for number in range(100)])
    (first,) = copies[0]
    assert all(next(iter(copy)) is first for copy in copies)


def test_keys_that_drive_each_other_out_keep_their_dicts_right() -> None:
    names = [f"name {number}" for number in range(3000)]
    records = [{names[number * 7 % 3000]: number, names[number % 50]: -1} for number in range(9000)]
    assert atoll.clone(records) == records
    assert atoll.clone([records, {name: name for name in names}])[1] == {name: name for name in names}


def test_the_same_str_works_as_key_value_and_element() -> None:
    name = "name"
    message = [{name: name}, {name}, (name, {name: {name: name}})]
    assert atoll.clone(message) == message

"""Every built-in type crosses and comes back as it was."""

from __future__ import annotations

import math
import struct
import sys

import pytest

import atoll

INTEGERS = [
    number + offset for number in (0, 2**7, 2**15, 2**30, 2**31, 2**60, 2**63, 2**64, 10**400) for offset in (-1, 0, 1)
]

VALUES = [
    None,
    True,
    False,
    ...,
    NotImplemented,
    *INTEGERS,
    *(-number for number in INTEGERS),
    0.0,
    -0.0,
    1e-320,
    sys.float_info.max,
    math.inf,
    complex(1, -0.0),
    "",
    "a",
    "é",
    "text of more than twenty-two bytes",
    "\x7f\x80\xff",
    "\u0100 and more",
    "\ud800 alone",
    "\udfff",
    "\U0001f600",
    "x" * 100_000,
    "\0",
    b"",
    b"\0data\xff",
    b"y" * 100_000,
    bytearray(),
    bytearray(b"\0data\xff"),
    [],
    [1, "two", [3.0]],
    (),
    (None,),
    ((), ((),)),
    {},
    {"a": 1, 2: "b", None: [], (1, ("x",)): {}, frozenset({1}): 0, 1.5: ..., b"k": True, range(3): slice(1)},
    set(),
    {1, "a", (2, 3), frozenset({4}), None},
    frozenset(),
    frozenset({1, frozenset({2})}),
    range(0),
    range(-5, 10**30, 7),
    range(10, 0, -1),
    slice(None),
    slice(1, "two", [3]),
]


def described(value: object) -> str:
    """What tells -0.0 from 0.0 and 1 from True; sets list their elements in no order that a clone would keep."""
    return repr(sorted(map(repr, value))) if isinstance(value, set | frozenset) else repr(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{value!r:.30}")
def test_a_built_in_value_comes_back_equal_and_of_its_type(value: object) -> None:
    copy = atoll.clone(value)
    assert type(copy) is type(value)
    assert copy == value
    assert described(copy) == described(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{value!r:.30}")
def test_a_built_in_value_comes_back_from_inside_each_container(value: object) -> None:
    in_list, (in_tuple,), in_dict = atoll.clone([value, (value,), {0: value}])
    for copy in (in_list, in_tuple, in_dict[0]):
        assert copy == value
        assert described(copy) == described(value)


def test_a_nan_keeps_its_bits() -> None:
    for bits in (0x7FF8000000000000, 0xFFF8000000000001, 0x7FF0DEADBEEF0000 | 1 << 51):
        (nan,) = struct.unpack("<d", struct.pack("<Q", bits))
        assert struct.pack("<d", atoll.clone(nan)) == struct.pack("<Q", bits)


def test_a_dict_keeps_its_order_also_after_deletions() -> None:
    numbers = {number: str(number) for number in range(1000)}
    for number in range(0, 1000, 3):
        del numbers[number]
    numbers[0] = "again"
    assert list(atoll.clone(numbers).items()) == list(numbers.items())


def test_a_set_survives_deletions() -> None:
    numbers = set(range(1000))
    numbers.difference_update(range(0, 1000, 3))
    assert atoll.clone(numbers) == numbers


def test_each_kind_of_text_works_as_a_key() -> None:
    keys = [
        "",
        "k",
        "key",
        "key4",
        "seven77",
        "eight888",
        "nine99999",
        "x" * 16,
        "x" * 17,
        "x" * 24,
        "x" * 25,
        "x" * 100,
    ]
    keys += [key + "é" for key in keys] + [key + "\u0100" for key in keys] + [key + "\ud800" for key in keys]
    table = {key: index for index, key in enumerate(keys)}
    for _ in range(3):
        copy = atoll.clone(table)
        assert copy == table
        assert [copy[key] for key in keys] == list(range(len(keys)))


def test_more_keys_than_are_remembered_still_come_back() -> None:
    for start in range(0, 5000, 1000):
        table = {f"key{number}": number for number in range(start, start + 1000)}
        assert atoll.clone(table) == table


def test_a_long_flat_list_comes_back() -> None:
    assert atoll.clone(list(range(1_000_000))) == list(range(1_000_000))


def test_a_large_buffer_comes_back() -> None:
    data = bytes(range(256)) * 40_000
    assert atoll.clone({"data": data, "copy": bytearray(data)}) == {"data": data, "copy": data}


def test_the_original_is_left_alone() -> None:
    inner = [1]
    outer = {"inner": inner}
    copy = atoll.clone(outer)
    copy["inner"].append(2)
    assert outer == {"inner": [1]}
    assert copy["inner"] is not inner

"""What `explain` says about a graph."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import atoll


@dataclasses.dataclass
class Job:
    name: str
    source: object


def test_every_part_is_there_with_its_path_and_its_way() -> None:
    channel: atoll.Channel[int] = atoll.Channel(1)
    shared = [1, 2]
    tree = atoll.explain({"jobs": [Job("a", channel.sender), shared, shared], "cls": dict, "fn": lambda: 1})
    ways = {part.path: (part.type_name, part.way) for part in tree.walk()}
    assert ways["value"] == ("dict", "copied")
    assert ways["value['jobs'][0].name"] == ("str", "copied")
    assert ways["value['jobs'][0].source"] == ("Sender", "shared")
    assert ways["value['jobs'][1]"] == ("list", "copied")
    assert ways["value['jobs'][2]"] == ("list", "repeated")
    assert ways["value['cls']"] == ("type", "by reference")
    assert ways["value['fn']"] == ("function", "by value")
    assert tree.culprit is None


def test_the_bytes_are_about_those_of_the_message() -> None:
    value = {"data": [b"x" * 10_000, "y" * 5_000], "view": memoryview(bytearray(1_000_000))}
    tree = atoll.explain(value)
    assert 1_015_000 <= tree.total_bytes <= 1_016_000
    assert tree.total_bytes == tree.size_bytes + sum(child.total_bytes for child in tree.children)


def test_the_culprit_is_named_with_the_way_out() -> None:
    tree = atoll.explain([1, Job("a", {"lock": threading.Lock()}), (number for number in ())])
    assert tree.culprit is not None
    assert (tree.culprit.path, tree.culprit.type_name) == ("value[1].source['lock']", "lock")
    assert "channel" in tree.culprit.hint
    assert [part.path for part in tree.walk() if part.way == "refused"] == ["value[1].source['lock']", "value[2]"]


def test_the_text_shows_the_tree_and_never_hides_a_culprit() -> None:
    text = str(atoll.explain([list(range(1000)), [*range(1000), threading.Lock()]]))
    assert text.startswith("value: list, copied, ")
    assert "\n    … and 980 more" in text
    assert "value[1][1000]: lock, refused" in text
    assert len(text) < 5_000


def test_cycles_and_deep_graphs_are_explained() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    assert [part.way for part in atoll.explain(cycle).walk()] == ["copied", "repeated"]
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    assert sum(1 for _ in atoll.explain(deep).walk()) == 5_001
    assert "…" in str(atoll.explain(deep))


def test_an_object_that_fails_to_be_taken_apart_is_a_refusal() -> None:
    class Failing:
        def __reduce__(self) -> tuple[Any, ...]:
            raise ValueError("broken")

    tree = atoll.explain([Failing()])
    assert tree.culprit is not None
    assert "ValueError: broken" in tree.culprit.hint

"""The copy itself: a nested dict there and back in one thread, beside the standard serialisers."""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Callable
from time import perf_counter
from typing import Any

from bench.scenarios.scenario import Contender, Scenario, rate

NESTED = {
    "order": 48213,
    "paid": True,
    "total": 1204.5,
    "customer": {"id": 77, "name": "Ada Lovelace", "email": "ada@example.org", "tags": ["b2b"]},
    "lines": [
        {
            "sku": f"A-{number:04}",
            "title": f"article {number}",
            "count": number % 7,
            "price": number * 1.25,
            "options": {"colour": "blue", "size": number % 4, "gift": None},
        }
        for number in range(20)
    ],
    "history": [("created", 1763622000), ("packed", 1763623000), ("sent", 1763629000)],
}


def copies(make: Callable[[], Callable[[Any], Any]]) -> Contender:
    """How often a second the function that *make* returns copies the nested dict."""

    def contender(seconds: float) -> float:
        copy = make()
        assert copy(NESTED) == NESTED

        def measure(count: int) -> float:
            began = perf_counter()
            for _ in range(count):
                copy(NESTED)
            return perf_counter() - began

        return rate(measure, seconds, 100, 1 << 30)

    return contender


def by_atoll() -> Callable[[Any], Any]:
    """What a message goes through: into bytes, and into objects again."""
    import atoll

    return atoll.clone


def by_pickle() -> Callable[[Any], Any]:
    """Protocol 5, C implementation."""
    return lambda value: pickle.loads(pickle.dumps(value, 5))


def by_marshal() -> Callable[[Any], Any]:
    """Knows the built-in types only, keeps identity only of constants."""
    return lambda value: marshal.loads(marshal.dumps(value))


CLONES = (
    Scenario(
        "clone_dict",
        "nested dict, there and back",
        "copies/s",
        True,
        {"atoll": copies(by_atoll), "pickle 5": copies(by_pickle), "marshal": copies(by_marshal)},
    ),
)

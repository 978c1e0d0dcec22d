"""The copy itself: nested dicts there and back in one thread, beside the standard serialisers."""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Callable
from time import perf_counter
from typing import Any

from bench.scenarios.scenario import Contender, Scenario, rate
from bench.scenarios.streams import SMALL_DICT

ORDER = {
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


def copies(make: Callable[[], Callable[[Any], Any]], value: dict[str, Any]) -> Contender:
    """How often a second the function that *make* returns copies *value*."""

    def contender(seconds: float) -> float:
        copy = make()
        assert copy(value) == value

        def measure(count: int) -> float:
            began = perf_counter()
            for _ in range(count):
                copy(value)
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


def _clones(name: str, title: str, value: dict[str, Any]) -> Scenario:
    serialisers = {"atoll": by_atoll, "pickle 5": by_pickle, "marshal": by_marshal}
    contenders = {contender: copies(make, value) for contender, make in serialisers.items()}
    return Scenario(name, title, "copies/s", True, contenders)


CLONES = (
    _clones("clone_dict", "nested dict, there and back", SMALL_DICT),
    _clones("clone_records", "20 records, there and back", ORDER),
)

"""The copy itself, there and back in one thread beside the standard serialisers; a large array to a worker and back."""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
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


@dataclass
class Line:
    """A record as programs have them."""

    number: int
    title: str
    price: float
    paid: bool
    tags: list[str]


RECORDS = [Line(number, f"article {number}", number * 1.25, number % 2 == 0, ["new"]) for number in range(10_000)]
ARRAY_BYTES = 100_000_000


def copies(make: Callable[[], Callable[[Any], Any]], value: Any) -> Contender:
    """How often a second the function that *make* returns copies *value*."""

    def contender(seconds: float) -> float:
        copy = make()
        assert copy(value) == value

        def measure(count: int) -> float:
            began = perf_counter()
            for _ in range(count):
                copy(value)
            return perf_counter() - began

        return rate(measure, seconds, 1, 1 << 30)

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


def same(value: Any) -> Any:
    """The whole work of a worker: give it back."""
    return value


def array_by_atoll(seconds: float) -> float:
    """Seconds for the array there and back: copied once each way, beside the message."""
    import numpy as np

    import atoll

    array = np.arange(ARRAY_BYTES // 8, dtype="f8")
    atoll.run(same, array[:1], kind="isolate")
    return _best(lambda: atoll.run(same, array, kind="isolate"), seconds)


def array_by_processes(seconds: float) -> float:
    """The same through pickle and a pipe."""
    import numpy as np

    array = np.arange(ARRAY_BYTES // 8, dtype="f8")
    with ProcessPoolExecutor(1) as pool:
        pool.submit(same, array[:1]).result()
        return _best(lambda: pool.submit(same, array).result(), seconds)


def _best(call: Callable[[], object], seconds: float) -> float:
    best, until = float("inf"), perf_counter() + seconds
    while True:
        began = perf_counter()
        call()
        best = min(best, perf_counter() - began)
        if perf_counter() >= until:
            return best


def _clones(
    name: str, title: str, value: Any, *, serialisers: dict[str, Callable[[], Callable[[Any], Any]]]
) -> Scenario:
    contenders = {contender: copies(make, value) for contender, make in serialisers.items()}
    return Scenario(name, title, "copies/s", True, contenders)


OF_OBJECTS = {"atoll": by_atoll, "pickle 5": by_pickle}
OF_BUILT_IN_TYPES = {**OF_OBJECTS, "marshal": by_marshal}

CLONES: tuple[Scenario, ...] = (
    _clones("clone_dict", "nested dict, there and back", SMALL_DICT, serialisers=OF_BUILT_IN_TYPES),
    _clones("clone_records", "20 records, there and back", ORDER, serialisers=OF_BUILT_IN_TYPES),
    _clones("clone_dataclasses", "10,000 dataclass instances, there and back", RECORDS, serialisers=OF_OBJECTS),
)
if find_spec("numpy") is not None:
    CLONES += (
        Scenario(
            "clone_array",
            "100 MB numpy array to a worker and back",
            "s",
            False,
            {"atoll": array_by_atoll, "process pool": array_by_processes},
            patience=20.0,
        ),
    )

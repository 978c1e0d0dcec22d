"""The shape of a scenario, and how long to go on measuring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

type Contender = Callable[[float], float]
"""Measures for about so many seconds and returns the figure in the scenario's unit."""

GROWTH = 10


@dataclass(frozen=True)
class Scenario:
    """One line of the table."""

    name: str
    title: str
    unit: str
    higher_is_better: bool
    contenders: dict[str, Contender]
    patience: float = 0.0
    """Seconds that a contender may take beyond what the plan allows; such scenarios are left out of a quick run."""


def rate(measure: Callable[[int], float], seconds: float, start: int, limit: int) -> float:
    """How many a second: let `measure(count)` take more until it takes *seconds*, and keep the longest."""
    count = start
    while True:
        took = measure(count)
        if took >= seconds or count >= limit:
            return count / took
        count = min(limit, int(count * min(GROWTH, 1.2 * seconds / took)) + 1)

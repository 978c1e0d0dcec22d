"""Round trips between two interpreters, processes or threads: the median of single trips."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from bench.rivals.lane import Lane
from bench.scenarios.scenario import Contender, Scenario
from bench.scenarios.streams import LANES


def hot(make: Callable[[], Lane]) -> Contender:
    """One trip right after the other."""
    return lambda seconds: median(make().hot_trip(seconds)) / 1000


def parked(make: Callable[[], Lane]) -> Contender:
    """Each side sleeps before the message comes."""
    return lambda seconds: median(make().parked_trip(seconds)) / 1000


TRIPS = (
    Scenario(
        "trip_hot",
        "round trip, hot",
        "µs",
        False,
        {lane: hot(make) for lane, make in LANES.items()},
    ),
    Scenario(
        "trip_parked",
        "round trip, parked",
        "µs",
        False,
        {lane: parked(make) for lane, make in LANES.items()},
    ),
)

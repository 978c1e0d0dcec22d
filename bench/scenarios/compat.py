"""Queues of `atoll.compat.interpreters` beside the standard library's: the same program, another import."""

from __future__ import annotations

from itertools import repeat

from bench.rivals.lane import Lane
from bench.scenarios.scenario import Scenario
from bench.scenarios.streams import SMALL_DICT, interpreters_lane, one_by_one
from bench.scenarios.trips import hot, parked


def compat_lane() -> Lane:
    """The drop-in's lane."""
    from bench.rivals.compat_lane import CompatLane

    return CompatLane()


LANES = {"atoll": compat_lane, "interpreters.Queue": interpreters_lane}

COMPAT = (
    Scenario(
        "compat_trip_hot",
        "drop-in queue, round trip, hot",
        "µs",
        False,
        {lane: hot(make) for lane, make in LANES.items()},
    ),
    Scenario(
        "compat_trip_parked",
        "drop-in queue, round trip, parked",
        "µs",
        False,
        {lane: parked(make) for lane, make in LANES.items()},
    ),
    Scenario(
        "compat_stream_int",
        "drop-in queue, ints",
        "messages/s",
        True,
        {lane: one_by_one(make, range, 100) for lane, make in LANES.items()},
    ),
    Scenario(
        "compat_stream_dict",
        "drop-in queue, small dicts",
        "messages/s",
        True,
        {lane: one_by_one(make, lambda count: repeat(SMALL_DICT, count), 1000) for lane, make in LANES.items()},
    ),
)

"""What Atoll promises, and whether one run of the bench kept it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.packages import installed

type Scenarios = Mapping[str, Any]
"""The "scenarios" of a written result."""


@dataclass(frozen=True)
class Goal:
    """A promise: a figure of Atoll's own, or its ratio to a rival measured in the same run."""

    scenario: str
    asked: float
    rival: str = ""

    def text(self) -> str:
        """The promise in words."""
        if self.rival:
            return f"≥ {self.asked:g} x {self.rival}"
        asked = f"{self.asked:,.0f}" if self.asked >= 100 else f"{self.asked:g}"
        return f"{AT_MOST_OR_LEAST[self.scenario]} {asked}"

    def reached(self, scenarios: Scenarios) -> float | None:
        """The figure to hold against `asked`; None if it was not measured."""
        scenario = scenarios.get(self.scenario)
        if scenario is None:
            return None
        ours = figure(scenario, first(scenario))
        if not self.rival or ours is None:
            return ours
        return ratio(scenario, self.rival)

    def met(self, scenarios: Scenarios) -> bool | None:
        """Whether the promise was kept; None if it was not measured."""
        reached = self.reached(scenarios)
        if reached is None:
            return None
        if self.rival or scenarios[self.scenario]["higher_is_better"]:
            return reached >= self.asked
        return reached <= self.asked


AT_MOST_OR_LEAST = {
    "batch_int": "≥",
    "trip_hot": "≤",
    "trip_parked": "≤",
    "pool_map": "≥",
    "idle": "≤",
    "asyncio_wakeup": "≤",
    "isolates_parallel": "≤",
    "isolates_start": "≤",
    "isolates_reuse": "≤",
    "isolates_packages": "≥",
}

GOALS = (
    Goal("stream_int", 10, "interpreters.Queue"),
    Goal("stream_int", 25, "mp.Queue"),
    Goal("batch_int", 60e6),
    Goal("stream_dict", 4, "interpreters.Queue"),
    Goal("trip_hot", 3),
    Goal("trip_hot", 1000, "interpreters.Queue"),
    Goal("trip_parked", 25),
    Goal("clone_dict", 2, "pickle 5"),
    Goal("clone_dataclasses", 2, "pickle 5"),
    Goal("clone_array", 4, "process pool"),
    Goal("task_trip", 5, "InterpreterPool"),
    Goal("task_trip", 5, "ProcessPool"),
    Goal("pool_trip", 4, "InterpreterPool"),
    Goal("pool_trip", 8, "ProcessPool"),
    Goal("pool_trip", 1, "ThreadPool"),
    Goal("pool_map", 10, "ProcessPool"),
    Goal("pool_map", 300e3),
    Goal("pool_map_chunks", 1, "ProcessPool"),
    Goal("joblib_start", 3, "loky"),
    Goal("joblib_grid", 1, "loky"),
    Goal("idle", 20),
    Goal("asyncio_wakeup", 50),
    Goal("isolates_parallel", 1.15),
    Goal("isolates_stream_int", 0.8, "sub-interpreter"),
    Goal("isolates_stream_dict", 0.8, "sub-interpreter"),
    Goal("isolates_trip_hot", 0.8, "sub-interpreter"),
    Goal("isolates_trip_parked", 0.8, "sub-interpreter"),
    Goal("isolates_start", 15),
    Goal("isolates_start", 2, "spawned process"),
    Goal("isolates_start_numpy", 2, "spawned process"),
    Goal("isolates_reuse", 1),
    Goal("isolates_packages", len(installed())),
)


def figure(scenario: Mapping[str, Any], contender: str) -> float | None:
    """The median of *contender*, or None."""
    entry = scenario["contenders"].get(contender)
    value: float | None = entry["figure"] if entry else None
    return value


def first(scenario: Mapping[str, Any]) -> str:
    """Our own contender: the one that is named first."""
    return str(next(iter(scenario["contenders"])))


def ratio(scenario: Mapping[str, Any], rival: str) -> float | None:
    """How many times better Atoll is than *rival* (below one: worse)."""
    ours, theirs = figure(scenario, first(scenario)), figure(scenario, rival)
    if not ours or not theirs:
        return None
    return ours / theirs if scenario["higher_is_better"] else theirs / ours

"""joblib's backends beside each other: isolates, and the processes of loky. Two workers each."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from bench.scenarios.scenario import Contender, Scenario

JOBS = 2
BACKENDS = ("atoll", "loky")


def grid_search(backend: str) -> Callable[[], None]:
    """Fit 24 support vector machines to choose two parameters, on *backend*."""
    import joblib
    from sklearn.datasets import make_classification
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    data, labels = make_classification(n_samples=800, n_features=40, n_informative=8, random_state=0)
    grid = {"C": [0.1, 1.0, 10.0, 100.0], "gamma": [0.01, 0.1]}

    def fit() -> None:
        with joblib.parallel_config(backend=backend, n_jobs=JOBS):
            GridSearchCV(SVC(), grid, cv=3).fit(data, labels)

    return fit


def calls(backend: str) -> Callable[[], None]:
    """Make a call of the least that a task can do on each worker of *backend*."""
    import joblib

    def call() -> None:
        joblib.Parallel(n_jobs=JOBS, backend=backend)(joblib.delayed(math.sqrt)(number) for number in range(JOBS))

    return call


def warm(backend: str) -> Contender:
    """The median time of a grid search, once the workers have made one."""

    def contender(seconds: float) -> float:
        _register()
        fit = grid_search(backend)
        fit()
        times: list[float] = []
        end = perf_counter() + seconds
        while len(times) < 3 or perf_counter() < end:
            times.append(_milliseconds(fit))
        return median(times)

    return contender


def first(prepare: Callable[[str], Callable[[], None]], backend: str) -> Contender:
    """The time of the first of all, from nothing: this process has no workers yet."""

    def contender(seconds: float) -> float:  # noqa: ARG001
        _register()
        return _milliseconds(prepare(backend))

    return contender


def _register() -> None:
    import atoll.joblib

    del atoll  # importing it was the point


def _milliseconds(do: Callable[[], Any]) -> float:
    began = perf_counter()
    do()
    return 1000 * (perf_counter() - began)


JOBLIB = (
    Scenario(
        "joblib_start",
        "joblib: first results",
        "ms",
        False,
        {backend: first(calls, backend) for backend in BACKENDS},
    ),
    Scenario(
        "joblib_grid",
        "GridSearchCV, warm workers",
        "ms",
        False,
        {backend: warm(backend) for backend in BACKENDS},
        patience=30.0,
    ),
    Scenario(
        "joblib_grid_start",
        "the same, the first in a process",
        "ms",
        False,
        {backend: first(grid_search, backend) for backend in BACKENDS},
        patience=30.0,
    ),
)

"""What `atoll demo --numbers` computes: what the handwritten digits that scikit-learn ships have in common.

Two sweeps make up the jobs. k-means, for every number of clusters and several seeds, is numpy and Python code of ours,
judged by scikit-learn; the singular values of bootstrap samples are LAPACK's. The tasks run in isolates, since these
packages refuse sub-interpreters. Every isolate gets one thread for BLAS and OpenMP in both passes, so that the pass of
one worker uses one core and no more, and its results are those of the other pass.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, NamedTuple

import atoll
from atoll.cli.progress import progress
from atoll.cli.table import number, table
from atoll.cli.usage import UsageError

PACKAGES = ("numpy", "scipy", "scikit-learn")
CLUSTERS = range(2, 31)
SEEDS = 12
SAMPLES = 400
RANKS = (1, 2, 5, 10, 20, 40)
SHOWN_CLUSTERS = (2, 5, 8, 9, 10, 11, 12, 15, 20, 30)
JUDGED = 600  # digits that the silhouette is taken of: all would cost more than the clustering

type Job = tuple[str, int, int]  # "clusters", their number, seed; or "spectrum", 0, seed
type Result = tuple[str, int, int, list[float]]
type Watch = Callable[[Iterable[Result], int, str], Iterable[Result]]


class Sweep(NamedTuple):
    """What one pass over all jobs found, and how long it took."""

    workers: int
    isolates: int
    """How many isolates the workers were in."""
    blas_threads: int
    """The most threads that BLAS or OpenMP may use in any of them."""
    ready_seconds: float
    """Until all isolates were there with their imports, before the clock of the jobs."""
    seconds: float
    cores: float
    """How many were at work for this process, on average: fewer than workers if others use them too."""
    results: list[Result]


def jobs() -> list[Job]:
    """All jobs, the long ones first, so that no worker is left with one at the end."""
    clusters: list[Job] = [("clusters", k, seed) for k in reversed(CLUSTERS) for seed in range(SEEDS)]
    return clusters + [("spectrum", 0, seed) for seed in range(SAMPLES)]


# In an isolate ----------------------------------------------------------------------------------------------------


def work(
    waiting: atoll.Receiver[Job], report: atoll.Sender[Result], ready: atoll.Sender[int], start: atoll.Receiver[None]
) -> None:
    """The task of one worker: get ready, wait for the start, then take jobs until there are none."""
    do(("clusters", 3, 0))
    do(("spectrum", 0, 0))
    ready.send(blas_threads())
    start.recv()
    for job in waiting:
        report.send((*job, do(job)))


def do(job: Job) -> list[float]:
    """Compute one job."""
    what, clusters, seed = job
    return cluster(clusters, seed) if what == "clusters" else spectrum(seed)


@functools.cache
def digits() -> tuple[Any, Any]:
    """1,797 images of 8 x 8 pixels as rows, and the digits that they show."""
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)  # type: ignore[no-any-return, unused-ignore]


def cluster(clusters: int, seed: int) -> list[float]:
    """k-means from a k-means++ start: inertia, silhouette, agreement with the true digits, rounds."""
    import numpy as np
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    images, truth = digits()
    random = np.random.default_rng(seed)
    centres = [images[random.integers(len(images))]]
    distance = ((images - centres[0]) ** 2).sum(axis=1)
    while len(centres) < clusters:
        centres.append(images[random.choice(len(images), p=distance / distance.sum())])
        distance = np.minimum(distance, ((images - centres[-1]) ** 2).sum(axis=1))

    middle = np.array(centres)
    squares = (images**2).sum(axis=1)[:, None]
    labels = np.zeros(len(images), int)
    rounds = 0
    for rounds in range(1, 301):
        distances = squares - 2 * images @ middle.T + (middle**2).sum(axis=1)
        nearest = distances.argmin(axis=1)
        if rounds > 1 and (nearest == labels).all():
            break
        labels = nearest
        members = [images[labels == one] for one in range(clusters)]
        middle = np.array([some.mean(axis=0) if len(some) else old for some, old in zip(members, middle, strict=True)])
    return [
        float(np.maximum(distances.min(axis=1), 0).sum()),
        float(silhouette_score(images, labels, sample_size=JUDGED, random_state=0)),
        float(adjusted_rand_score(truth, labels)),
        float(rounds),
    ]


def spectrum(seed: int) -> list[float]:
    """The share of the variance within the first RANKS singular directions of a bootstrap sample of the images."""
    import numpy as np

    images, _ = digits()
    sample = images[np.random.default_rng(seed).integers(len(images), size=len(images))]
    values = np.linalg.svd(sample - sample.mean(axis=0), compute_uv=False) ** 2
    share = values.cumsum() / values.sum()
    return [float(share[rank - 1]) for rank in RANKS]


def blas_threads() -> int:
    """The most threads that a numeric library in this interpreter may use."""
    from threadpoolctl import threadpool_info

    return max((library["num_threads"] for library in threadpool_info()), default=1)


# In the main interpreter ------------------------------------------------------------------------------------------


def sweep(todo: list[Job], workers: int, watch: Watch) -> Sweep:
    """Do the jobs with *workers* tasks in isolates. The clock starts when every isolate has its imports."""
    waiting = atoll.Channel[Job](capacity=None)
    results = atoll.Channel[Result](capacity=256)
    readiness = atoll.Channel[int](capacity=None)
    go = atoll.Channel[None](capacity=None)
    found, report = results.receiver, results.sender
    readied, ready = readiness.receiver, readiness.sender
    del results, readiness  # only ends are left: when the last sender goes, its receiver need not wait any more
    waiting.send_many(todo)
    waiting.close()
    asked = time.perf_counter()

    with atoll.TaskGroup() as group:
        for index in range(workers):
            channels = (waiting.receiver, report, ready, go.receiver)
            group.spawn(work, *channels, kind="isolate", name=f"numbers-{index + 1}")
        report.close()
        ready.close()
        threads = max(readied.recv() for _ in range(workers))
        busy = sum(host.kind == "isolate" and host.running > 0 for host in atoll.list_hosts())
        began, began_work = time.perf_counter(), time.process_time()
        go.send_many([None] * workers)
        arrived = list(watch(found, len(todo), called(workers)))
    seconds, worked = time.perf_counter() - began, time.process_time() - began_work
    return Sweep(workers, busy, threads, began - asked, seconds, worked / seconds, sorted(arrived))


def called(workers: int) -> str:
    """The name of a pass."""
    return f"{workers} worker" + ("s" if workers > 1 else "")


def compare(alone: Sweep, together: Sweep) -> str:
    """Whether both passes found the same, in words; raises RuntimeError if they did not."""
    if alone.results == together.results:
        return f"The {len(alone.results):,} results of both passes are equal, bit for bit."
    furthest = 0.0
    for one, other in zip(alone.results, together.results, strict=True):
        pairs = zip(one[3], other[3], strict=True)
        furthest = max([furthest, *(abs(a - b) / max(abs(a), abs(b), 1e-300) for a, b in pairs)])
    if furthest > 1e-9:
        raise RuntimeError(f"the results of the two passes differ by up to {furthest:.1e} of their value")
    return f"The {len(alone.results):,} results of both passes agree to {furthest:.0e} of their value."


def tables(alone: Sweep, together: Sweep) -> str:
    """The whole result for a terminal, from the pass of one worker and the pass of all."""
    passes = [alone] if alone is together else [alone, together]
    parts = [
        f"k-means of the digits: the best of {SEEDS} seeds for each number of clusters",
        table(
            ["clusters", "inertia", "silhouette", "agreement with the truth", "rounds"],
            [
                (k, round(best[0]), f"{best[1]:.3f}", f"{best[2]:.3f}", int(best[3]))
                for k, best in best_clusters(together).items()
                if k in SHOWN_CLUSTERS
            ],
        ),
        f"Variance within the first singular directions: {SAMPLES} bootstrap samples",
        table(
            ["directions", "share", "spread"],
            [(rank, f"{mean:.2%}", f"{spread:.2%}") for rank, mean, spread in shares(together)],
        ),
        "Speed",
        table(
            ["", "isolates", "cores used", "seconds", "jobs/s", "speed-up"],
            [
                (
                    called(p.workers),
                    p.isolates,
                    round(p.cores, 2),
                    round(p.seconds, 2),
                    len(p.results) / p.seconds,
                    f"{alone.seconds / p.seconds:.2f} x",
                )
                for p in passes
            ],
        ),
    ]
    return "\n\n".join(f"{title}\n{body}" for title, body in zip(parts[::2], parts[1::2], strict=True))


def best_clusters(found: Sweep) -> dict[int, list[float]]:
    """For each number of clusters what the seed with the least inertia gave."""
    best: dict[int, list[float]] = {}
    for what, k, _, values in found.results:
        if what == "clusters" and (k not in best or values < best[k]):
            best[k] = values
    return best


def shares(found: Sweep) -> list[tuple[int, float, float]]:
    """For each of RANKS the mean share over the samples, and its standard deviation."""
    from statistics import fmean, stdev

    samples = [values for what, _, _, values in found.results if what == "spectrum"]
    return [
        (rank, fmean(column), stdev(column)) for rank, column in zip(RANKS, zip(*samples, strict=True), strict=True)
    ]


def document(alone: Sweep, together: Sweep) -> dict[str, Any]:
    """The whole result for `--json`."""
    return {
        "atoll": version("atoll"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "speed_up": alone.seconds / together.seconds,
        "equal": alone.results == together.results,
        "passes": [
            {
                "workers": p.workers,
                "isolates": p.isolates,
                "blas_threads": p.blas_threads,
                "ready_seconds": p.ready_seconds,
                "seconds": p.seconds,
                "cores_used": p.cores,
                "jobs_per_second": len(p.results) / p.seconds,
            }
            for p in (alone, together)
        ],
        "results": together.results,
    }


def check() -> None:
    """Raise UsageError, with what to do, where this cannot run."""
    if find_spec("sklearn") is None:
        raise UsageError(
            "cannot run --numbers (scikit-learn is not installed); "
            f"install it with: {sys.executable} -m pip install scikit-learn"
        )
    isolate = atoll.capabilities()["isolate"]
    if not isolate.available:
        raise UsageError(f"cannot run --numbers (it needs isolates: {isolate.reason}); {isolate.remedy}")


def leaf(error: BaseException) -> BaseException:
    """The first error in a group that is none itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def run(wanted: int | None) -> dict[str, Any]:
    """Sweep with one worker, then with *wanted*, and print what came out; returns the document.

    By default there is one worker a core, at least 2, at most as many as isolates fit.
    """
    check()
    room = atoll.capabilities().isolates.fit
    workers = wanted or min(max(2, os.process_cpu_count() or 1), room)
    if workers > room:
        raise UsageError(
            f"cannot start {workers} isolates ({room} fit in this process); "
            "write 'atoll run -m atoll demo --numbers' for room for 15"
        )
    os.environ["ATOLL_ISOLATE_THREADS"] = "1"  # read when an isolate is started
    python = f"CPython {platform.python_version()}"
    print(f"1,797 handwritten digits of 8 x 8 pixels (sklearn.datasets.load_digits), on {python}")
    print(f"with {', '.join(f'{package} {version(package)}' for package in PACKAGES)}", flush=True)
    todo = jobs()
    watch = functools.partial(progress, unit="jobs")
    # The isolates of the larger pass come first: neither pass waits for a start.
    try:
        ready = sweep([], workers, watch).ready_seconds
    except ExceptionGroup as group:
        broken = group.subgroup(ImportError)
        if broken is None:
            raise
        reason = str(leaf(broken)).strip().partition("\n")[0]
        raise UsageError(f"cannot run --numbers ({reason}); install numpy, scipy and scikit-learn anew") from None
    print(f"{called(workers)} ready in {ready:.1f} s (isolates started, packages imported in each)", flush=True)
    alone = sweep(todo, 1, watch)
    together = sweep(todo, workers, watch) if workers > 1 else alone
    print(f"\n{tables(alone, together)}\n")
    threads = max(alone.blas_threads, together.blas_threads)
    print(f"BLAS and OpenMP may use {number(threads)} thread{'s' * (threads > 1)} in each isolate, in both passes.")
    print(compare(alone, together))
    if any(p.cores < 0.8 * p.workers for p in (alone, together)):
        print("The workers had less than a core each: other programs ran as well, or there are fewer cores.")
    return document(alone, together)

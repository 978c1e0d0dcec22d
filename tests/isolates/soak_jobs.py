"""What the soak gives its isolates to do. Each job returns the same wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import atoll


def numpy_in_thread_pools(seed: int) -> int:
    """Threads that come and go with numpy in them."""
    import concurrent.futures

    import numpy as np

    def norm(number: int) -> float:
        return float(np.linalg.norm(np.random.default_rng(number).random((50, 50))))

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        return round(sum(pool.map(norm, range(seed, seed + 30))) * 1000)


def polars_groups(seed: int) -> list[Any]:
    """The engine's thread pool."""
    import polars as pl

    frame = pl.DataFrame({"a": list(range(2000)), "b": [1.0 + seed] * 2000})
    return frame.group_by(pl.col("a") % 7).agg(pl.col("b").sum()).sort("a").rows()


def arrow_errors(seed: int) -> int:
    """C++ exceptions, over and over."""
    import pyarrow as pa

    caught = 0
    for _ in range(50 + seed):
        try:
            pa.array(["a"], type=pa.int32())
        except pa.lib.ArrowInvalid:
            caught += 1
    return caught


def asyncio_threads(seed: int) -> int:
    """A loop and its helper threads."""
    import asyncio

    async def main() -> int:
        return sum(await asyncio.gather(*[asyncio.to_thread(sum, range(1000 + seed)) for _ in range(5)]))

    return asyncio.run(main())


def child_process(seed: int) -> int:
    """A Python of its own."""
    import subprocess
    import sys

    return subprocess.run([sys.executable, "-S", "-c", f"raise SystemExit({seed})"], check=False).returncode


def fork(seed: int) -> int:
    """A forked child, seen from inside."""
    import os
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(len([bytes(100) for _ in range(1000)]) // 1000 + seed)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def json_threads(seed: int) -> int:
    """Plain threads."""
    import json
    import threading

    lengths: list[int] = []
    threads = [threading.Thread(target=lambda: lengths.append(len(json.dumps([{"a": seed}] * 1000)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(lengths)


def pandas_groups(seed: int) -> dict[int, int]:
    """Group and sum."""
    import pandas as pd

    frame = pd.DataFrame({"k": [1, 2, 3] * 1000, "v": range(seed, 3000 + seed)})
    return {int(key): int(value) for key, value in frame.groupby("k").v.sum().items()}


def environment(seed: int) -> int:
    """A private environment, and garbage."""
    import os

    os.environ["SOAK"] = str(seed)
    blocks = [bytearray(1000) for _ in range(2000)]
    return len(blocks) + int(os.environ["SOAK"])


def databases_and_hashes(seed: int) -> str:
    """sqlite3 and OpenSSL."""
    import hashlib
    import sqlite3

    base = sqlite3.connect(":memory:")
    base.execute("create table t (a)")
    base.executemany("insert into t values (?)", ((number + seed,) for number in range(1000)))
    total = base.execute("select sum(a) from t").fetchone()[0]
    base.close()
    return hashlib.sha256(str(total).encode()).hexdigest()


JOBS: dict[Callable[[int], Any], tuple[str, ...]] = {
    numpy_in_thread_pools: ("numpy",),
    polars_groups: ("polars",),
    arrow_errors: ("pyarrow",),
    asyncio_threads: (),
    child_process: (),
    fork: (),
    json_threads: (),
    pandas_groups: ("pandas",),
    environment: (),
    databases_and_hashes: (),
}
"""The jobs and the packages they need."""


def spin(started: atoll.Sender[int]) -> None:
    """A loop without end."""
    started.send(1)
    while True:
        sum(range(100))


def sleep(started: atoll.Sender[int]) -> None:
    """A sleep without end."""
    import time

    started.send(1)
    time.sleep(1000)


def wait(started: atoll.Sender[int]) -> None:
    """A lock that nobody opens."""
    import threading

    lock = threading.Lock()
    lock.acquire()
    started.send(1)
    lock.acquire()


ENDLESS = (spin, sleep, wait)

"""Many threads do all that can be done with a pool at once, and each gets its own answers."""

from __future__ import annotations

import concurrent.futures
import random
import threading
import time
from collections.abc import Callable

import pytest
from tests.conftest import PATIENCE

import atoll

THREADS = 6
ROUNDS = 120


def same(value: float) -> float:
    return value


def spin(seconds: float) -> float:
    import time

    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return seconds


def fail(value: float) -> None:
    raise ValueError(value)


@pytest.mark.slow
def test_calls_cancellations_limits_and_maps_from_many_threads_do_not_disturb_each_other(
    open_pool: Callable[..., atoll.Pool],
) -> None:
    pool = open_pool(2)

    def nested(value: float) -> float:
        return pool.submit(same, value).result()

    def call(choice: random.Random) -> None:
        value = choice.random()
        assert pool.submit(same, value).result(PATIENCE) == value

    def call_nested(choice: random.Random) -> None:
        value = choice.random()
        assert pool.submit(nested, value).result(PATIENCE) == value

    def call_in_vain(choice: random.Random) -> None:
        with pytest.raises(ValueError):
            pool.submit(fail, choice.random()).result(PATIENCE)

    def cancel(choice: random.Random) -> None:
        value = choice.choice([0.0, 0.0, 60.0])
        future = pool.submit(spin, value)
        spin(choice.random() * 0.003)
        future.cancel()
        try:
            assert future.result(PATIENCE) == value == 0.0
        except concurrent.futures.CancelledError:
            assert future.cancelled()

    def limit(choice: random.Random) -> None:
        late = pool.options(timeout=choice.choice([0.002, PATIENCE])).submit(spin, 0.004).exception(PATIENCE)
        assert late is None or "ran longer" in str(late)

    def map_some(choice: random.Random) -> None:
        count = choice.randrange(1, 300)
        assert list(pool.map(same, range(count), timeout=PATIENCE)) == list(range(count))

    def wait_for_many(choice: random.Random) -> None:
        futures = [pool.submit(same, choice.random()) for _ in range(10)]
        assert not concurrent.futures.wait(futures, PATIENCE).not_done

    def be_called_back(choice: random.Random) -> None:
        called = threading.Event()
        pool.submit(same, choice.random()).add_done_callback(lambda _: called.set())
        assert called.wait(PATIENCE)

    verbs = [call, call, call, call_nested, call_in_vain, cancel, limit, map_some, wait_for_many, be_called_back]
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        choice = random.Random(seed)
        try:
            for _ in range(ROUNDS):
                choice.choice(verbs)(choice)
        except BaseException as error:
            errors.append(error)

    began = time.monotonic()
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * PATIENCE)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads), time.monotonic() - began
    assert pool.stats().queued == 0

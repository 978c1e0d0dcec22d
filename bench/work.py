"""What workers are given to do. Imports nothing by itself: a worker that starts loads this module, and is timed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def nothing() -> int:
    """The least that a fresh worker can be asked."""
    return 1


def import_numpy() -> int:
    """What most are asked first."""
    import numpy as np

    return int(np.arange(2).sum())


def numbers_and_loops(turns: int) -> float:
    """Work as it is: numpy in the small, and Python around it."""
    import numpy as np

    random = np.random.default_rng(1)
    total = 0.0
    for turn in range(turns):
        matrix = random.random((48, 48))
        total += float(np.linalg.norm(matrix @ matrix))
        counts: dict[int, int] = {}
        for value in range(1500):
            counts[value % 17] = counts.get(value % 17, 0) + turn
        total += sum(counts.values())
    return total


def answer_calls(pipe: Any) -> None:
    """The life of a Process."""
    try:
        while True:
            fn, args = pipe.recv()
            pipe.send(fn(*args))
    except EOFError:
        pass

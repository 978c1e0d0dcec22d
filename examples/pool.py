"""A pool: calls by the thousand, one that is stopped, and what a worker remembers.

Prints:

    333283335000
    stopped after its time
    ['rope', 'lamp']
"""

import atoll


def square(number: int) -> int:
    return number * number


def spin() -> None:
    while True:
        pass


def remember(thing: str) -> list[str]:
    state = atoll.worker_state()
    state.things = [*getattr(state, "things", []), thing]
    things: list[str] = state.things
    return things


with atoll.Pool(2) as pool:
    print(sum(pool.map(square, range(10_000))))
    try:
        pool.options(timeout=0.1).submit(spin).result()
    except TimeoutError:
        print("stopped after its time")
    pool.on(0).submit(remember, "rope").result()
    print(pool.on(0).submit(remember, "lamp").result())

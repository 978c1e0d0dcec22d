"""Several channels at once: take whatever comes first, and stop waiting when time is up.

Prints:

    tick 1
    tick 2
    tick 3
    the clock has stopped
    nothing came for 0.05 s
"""

import atoll


def clock(ticks: atoll.Sender[int], count: int) -> None:
    with ticks:
        ticks.send_many(range(1, count + 1))


def main() -> None:
    ticks = atoll.Channel[int](capacity=0)
    news = atoll.Channel[str](capacity=8)
    stopped = atoll.spawn(clock, ticks.sender, 3)

    for _ in range(3):
        case, value = atoll.select(ticks, news)
        print("tick" if case is ticks else "news", value)
    stopped.join()
    print("the clock has stopped")

    deadline = atoll.after(0.05)
    case, value = atoll.select(news, deadline)
    print("nothing came for 0.05 s" if case is deadline else value)


if __name__ == "__main__":
    main()

"""One function in another interpreter, and many calls of it on all cores.

Prints:

    39088169
    [1, 1, 2, 3, 5, 8, 13, 21]
"""

import atoll


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def main() -> None:
    print(atoll.run(fast_fibonacci, 38))
    print(list(atoll.map(fibonacci, range(1, 9))))


def fast_fibonacci(n: int) -> int:
    first, second = 0, 1
    for _ in range(n):
        first, second = second, first + second
    return first


if __name__ == "__main__":
    main()

"""What goes wrong in another interpreter arrives here as its own exception, with the traceback of where it was raised.

Prints:

    ZeroDivisionError: division by zero
    caused by: RemoteTraceback
    one task failed, the other was told to stop: ValueError
    channel poisoned: the disk is full
"""

import atoll


def divide(dividend: int, divisor: int) -> float:
    return dividend / divisor


def reject(text: str) -> None:
    raise ValueError(text)


def wait(forever: atoll.Receiver[None]) -> None:
    forever.recv()


def main() -> None:
    try:
        atoll.run(divide, 1, 0)
    except ZeroDivisionError as error:
        print(f"{type(error).__name__}: {error}")
        print("caused by:", type(error.__cause__).__name__)

    silence = atoll.Channel[None]()
    try:
        with atoll.TaskGroup() as group:  # the first error cancels the others
            group.spawn(wait, silence.receiver)
            group.spawn(reject, "not this one")
    except* ValueError as errors:
        print("one task failed, the other was told to stop:", type(errors.exceptions[0]).__name__)

    silence.poison("the disk is full")
    try:
        silence.send(None)
    except atoll.ChannelPoisoned as error:
        print("channel poisoned:", error.reason)


if __name__ == "__main__":
    main()

"""A pipeline: each stage is a task, each arrow a channel; closing the first lets all of them end in turn.

Prints:

    the most common words: and, atoll, message
"""

from collections import Counter

import atoll

PAGES = [
    "an atoll is a ring of islands and a lagoon",
    "a channel carries one message and then another message",
    "Atoll has many interpreters and one process",
]


def split(pages: atoll.Receiver[str], words: atoll.Sender[str]) -> None:
    with words:  # when this stage has ended, the next one runs dry
        for page in pages:
            words.send_many(page.lower().split())


def count(words: atoll.Receiver[str], result: atoll.Sender[dict[str, int]]) -> None:
    with result:
        result.send(dict(Counter(word for word in words if len(word) > 2)))


def main() -> None:
    pages = atoll.Channel[str](capacity=8)
    words = atoll.Channel[str](capacity=64)
    result = atoll.Channel[dict[str, int]](capacity=1)
    with atoll.TaskGroup() as group:
        group.spawn(split, pages.receiver, words.sender)
        group.spawn(count, words.receiver, result.sender)
        del words  # the stages hold its ends; when the first lets go, the second knows
        pages.send_many(PAGES)
        pages.close()
    counts = result.recv()
    common = sorted(counts, key=lambda word: (-counts[word], word))[:3]
    print("the most common words:", ", ".join(common))


if __name__ == "__main__":
    main()

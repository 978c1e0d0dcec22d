"""Ask and answer: a message carries the channel on which its answer is wanted.

Prints:

    [2, 3, 5, 7, 11]
    True
"""

from __future__ import annotations

import atoll

type Question = tuple[str, int, atoll.Sender[object]]


def prime_server(questions: atoll.Receiver[Question]) -> None:
    """Keeps what it found between two questions, as a server does."""
    primes: list[int] = []
    candidate = 1
    for what, number, answer in questions:
        while len(primes) < number or primes[-1] < number:
            candidate += 1
            if all(candidate % prime for prime in primes):
                primes.append(candidate)
        answer.send(primes[:number] if what == "first" else number in primes)


def ask(questions: atoll.Channel[Question], what: str, number: int) -> object:
    answer = atoll.Channel[object](capacity=1)
    questions.send((what, number, answer.sender))
    return answer.recv(timeout=10)


def main() -> None:
    questions = atoll.Channel[Question](capacity=0)  # 0: a rendezvous, the server takes it from our hand
    server = atoll.spawn(prime_server, questions.receiver)
    print(ask(questions, "first", 5))
    print(ask(questions, "is prime", 97))
    questions.close()
    server.join()


if __name__ == "__main__":
    main()

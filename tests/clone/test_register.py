"""A type's own meaning of clone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import atoll
from atoll import _clone


class Connection:
    def __init__(self, address: str) -> None:
        self.address = address
        self.lock = threading.Lock()


@pytest.fixture(autouse=True)
def forget_what_was_registered() -> Iterator[None]:
    before = dict(_clone._registered)  # the package's own
    yield
    _clone._registered.clear()
    _clone._registered.update(before)
    from atoll import _native

    _native.forget_plans()


def address_of(connection: Connection) -> list[str]:
    return [connection.address]


def connect(parts: list[str]) -> Connection:
    return Connection(parts[0])


def test_a_registered_type_crosses_by_what_was_registered() -> None:
    with pytest.raises(atoll.CloneError, match=r"value\[0\].lock"):
        atoll.clone([Connection("a")])
    atoll.register(Connection, address_of, connect)
    connection = Connection("a")
    first, second = atoll.clone([connection, connection])
    assert first is second
    assert (type(first), first.address) == (Connection, "a")


def test_the_receiver_needs_no_registration() -> None:
    atoll.register(Connection, address_of, connect)
    assert atoll.run(lambda connection: connection.address, Connection("b")) == "b"


def test_registering_again_replaces() -> None:
    atoll.register(Connection, address_of, connect)
    atoll.register(Connection, address_of, lambda parts: Connection(parts[0].upper()))
    assert atoll.clone(Connection("a")).address == "A"


def test_subclasses_are_not_meant() -> None:
    class Secure(Connection):
        pass

    atoll.register(Connection, address_of, connect)
    with pytest.raises(atoll.CloneError):
        atoll.clone(Secure("a"))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((5, repr, eval), TypeError, "it is no class"),
        ((Connection, 5, connect), TypeError, "reduce is not callable"),
        ((Connection, address_of, None), TypeError, "rebuild is not callable"),
        ((dict, repr, eval), ValueError, "built-in types itself"),
    ],
)
def test_what_cannot_be_registered_is_refused(arguments: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        atoll.register(*arguments)


def test_a_reducer_that_fails_is_named() -> None:
    def fail(connection: Connection) -> None:
        raise KeyError("address")

    atoll.register(Connection, fail, connect)
    with pytest.raises(atoll.CloneError, match="KeyError") as caught:
        atoll.clone({"c": Connection("a")})
    assert caught.value.path == "value['c']"

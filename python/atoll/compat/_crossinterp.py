"""What queues and channels have in common: items that outlive the interpreter that put them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Self


class ItemInterpreterDestroyed(Exception):
    """Raised when trying to get an item whose interpreter was destroyed."""


class UnboundItem:
    """Represents a cross-interpreter item no longer bound to an interpreter.

    An item is unbound when the interpreter that added it to the
    cross-interpreter container is destroyed.
    """

    __slots__ = ()

    _MODULE = __name__
    _NAME = "UNBOUND"

    def __new__(cls) -> Self:
        raise Exception(f"use {cls._MODULE}.{cls._NAME}")

    def __repr__(self) -> str:
        return f"{self._MODULE}.{self._NAME}"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return _find_unbound, (self._MODULE,)


def _find_unbound(module: str) -> Any:
    from importlib import import_module

    return import_module(module).UNBOUND


def make_unbound(kind: str, module: str) -> Any:
    """The one UNBOUND of a module."""
    doc = (UnboundItem.__doc__ or "").replace("cross-interpreter container", kind).replace("cross-interpreter", kind)
    names = {"_MODULE": module, "__doc__": doc, "__slots__": (), "__module__": __name__}
    return object.__new__(type(f"Unbound{kind.capitalize()}Item", (UnboundItem,), names))


UNBOUND: Any = object.__new__(UnboundItem)


class _Choice:
    """A constant that says what becomes of an item."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name


UNBOUND_ERROR: Any = _Choice("UNBOUND_ERROR")
UNBOUND_REMOVE: Any = _Choice("UNBOUND_REMOVE")

REMOVE: Final = 1
ERROR: Final = 2
REPLACE: Final = 3
"""What becomes of an item, as it travels."""

_UNBOUND_CONSTANT_TO_FLAG = {UNBOUND_REMOVE: REMOVE, UNBOUND_ERROR: ERROR, UNBOUND: REPLACE}


def to_flag(unbound: Any, own: Any) -> int:
    """The number for a constant; *own* is the UNBOUND of the module that asks. Raises NotImplementedError."""
    try:
        return REPLACE if unbound is own else _UNBOUND_CONSTANT_TO_FLAG[unbound]
    except (KeyError, TypeError):
        raise NotImplementedError(f"unsupported unbound replacement op {unbound!r}") from None


def to_constant(flag: int, own: Any) -> Any:
    """The constant for a number."""
    return {REMOVE: UNBOUND_REMOVE, ERROR: UNBOUND_ERROR, REPLACE: own}[flag]

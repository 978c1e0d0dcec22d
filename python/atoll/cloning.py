"""Structured clone: the copy of an object that another interpreter gets, and a type's own meaning of it."""

from ._native import clone

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from collections.abc import Callable
    from typing import Any

__all__ = ["clone", "get_include", "register"]


def register[T](cls: type[T], reduce: "Callable[[T], Any]", rebuild: "Callable[[Any], T]") -> None:
    """Say what it means to clone an instance of *cls* (exactly of it, not of its subclasses), in this interpreter.

    `reduce(x)` gives a value that can be cloned; what another interpreter gets is `rebuild(value)`. *rebuild* travels
    with the message, as every function does: by name where it can be imported, so that nothing has to be registered
    where the object is only received. An interpreter that sends such objects itself registers them, too: put the call
    into the module that defines the class, which every interpreter imports that meets the class.

    Comes before anything that the class says itself (`__reduce_ex__`, `copyreg`). Registering again replaces. Raises
    TypeError for what is no class or cannot be called, ValueError for a built-in type.

        atoll.register(Connection, reduce=lambda c: c.address, rebuild=Connection)
    """
    from . import _clone

    _clone.register(cls, reduce, rebuild)


def get_include() -> str:
    """Return the folder of `atoll.h`, which C and C++ extensions include whose types share their payload.

    Such a type has a method `__atoll_share__`; the header says what it returns. Rust has the crate `atoll-share`.
    """
    from os.path import dirname, join

    return join(dirname(__file__), "include")

"""Context variables in other interpreters: the same name stands for one variable in each of them."""

from __future__ import annotations

import copyreg
import sys
from contextvars import ContextVar
from typing import Any

_variables: dict[tuple[str, str], ContextVar[Any]] = {}


def name_of(variable: ContextVar[Any]) -> Any:
    """What a worker finds its own variable by, with `find`."""
    if not isinstance(variable, ContextVar):
        raise TypeError(f"cannot carry {variable!r} along (it is no ContextVar); list contextvars.ContextVar objects")
    home = _home_of(variable)
    return ("variable", home, variable.name)


def find(home: str, name: str) -> ContextVar[Any]:
    """The variable of this interpreter that stands for that of *name*, which lives in the module *home*."""
    if home != "__main__":
        from importlib import import_module

        try:
            module = import_module(home)
        except ImportError:
            pass
        else:
            for value in list(vars(module).values()):
                if isinstance(value, ContextVar) and value.name == name:
                    return value
    return _variables.setdefault((home, name), ContextVar(name))


def _home_of(variable: ContextVar[Any]) -> str:
    for name, module in list(sys.modules.items()):
        if any(value is variable for value in list(vars(module).values()) if isinstance(value, ContextVar)):
            return name
    return "__main__"


def _reduce(variable: ContextVar[Any]) -> Any:
    return find, (_home_of(variable), variable.name)


# Functions that travel by value take their variables along by name.
copyreg.pickle(ContextVar, _reduce)

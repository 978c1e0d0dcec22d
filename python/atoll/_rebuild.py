"""What `_shipping` has pickled becomes an object again: channel ends in their places, functions from their parts.

The parts are cloudpickle's, with whose help they were taken apart. What puts a function together stands here all the
same: importing cloudpickle takes as long as two new interpreters, and a host needs it only for classes by value.
"""

import sys
from _frozen_importlib_external import MAGIC_NUMBER
from _io import BytesIO
from _pickle import Unpickler as _Unpickler

from ._errors import CloneError

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from types import CellType, CodeType, FunctionType
    from typing import Any

    from ._loading import End

ANOTHER_VERSION = (
    "it travels by value, as bytecode, which Python {version} does not understand; "
    "put it into a module that can be imported there"
)


def foreign(what: str, kind: str) -> CloneError:
    """The error for code that another version of Python has compiled."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return CloneError(what, kind, hint=ANOTHER_VERSION.format(version=version))


def undump(blob: bytes, ends: "tuple[End, ...]" = (), *, keep_known_classes: bool = False) -> "Any":
    """Undo `_shipping.dump`. With *keep_known_classes* a class that started its journey here comes back as itself.

    Raises CloneError if there is a function in it that another version of Python has compiled.
    """
    stream = BytesIO(blob)
    is_foreign = stream.read(len(MAGIC_NUMBER)) != MAGIC_NUMBER
    return Unpickler(stream, ends, keep_known_classes, is_foreign).load()


class Unpickler(_Unpickler):
    """pickle, with channel ends put back and, on request, known classes left as they are."""

    def __init__(self, stream: "Any", ends: "tuple[End, ...]", keep_known_classes: bool, is_foreign: bool) -> None:
        super().__init__(stream)
        self._is_foreign = is_foreign
        self._ends = ends
        self._keep = keep_known_classes
        self._known: set[type] = set()

    def persistent_load(self, index: "Any") -> "End":
        """The end that was set aside."""
        return self._ends[int(index)]

    def find_class(self, module: str, name: str) -> "Any":
        """What a name in the blob means here."""
        if module == __name__:
            # Its bytecode comes after it.
            if self._is_foreign and name == "make_function":
                raise foreign("a function", "function")
            return globals()[name]
        found = super().find_class(module, name)
        if self._keep and module == "cloudpickle.cloudpickle":
            if name in ("_make_skeleton_class", "_make_skeleton_enum"):
                return lambda *description: self._skeleton(found, *description)
            if name == "_class_setstate":
                return lambda cls, state: self._fill(found, cls, state)
        return found

    def _skeleton(self, make: "Any", *description: "Any") -> "Any":
        # cloudpickle gives every class that travels by value an id; both makers take it as the last but one.
        from cloudpickle import cloudpickle

        known = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(description[-2])
        if known is None:
            return make(*description)
        self._known.add(known)
        return known

    def _fill(self, fill: "Any", cls: type, state: "Any") -> "Any":
        # Filling it would replace the methods of the class where it was defined by copies of themselves.
        return cls if cls in self._known else fill(cls, state)


# The parts of functions, as cloudpickle 3 hands them over ---------------------------------------------------------


def _enclosing(cell: object) -> "Any":
    return lambda: cell


_FUNCTION: "type[Any]" = type(_enclosing)
_CELL: "type[Any]" = type(_enclosing(None).__closure__[0])
"""`types.CellType`, without the import of `types`."""


def make_function(
    code: "CodeType", names: "dict[str, Any]", name: str | None, defaults: "Any", closure: "tuple[CellType, ...] | None"
) -> "FunctionType":
    """A function without its state."""
    names["__builtins__"] = __builtins__
    made: FunctionType = _FUNCTION(code, names, name, defaults, closure)
    return made


def fill_function(fn: "FunctionType", state: "tuple[dict[str, Any], dict[str, Any]]") -> None:
    """Give a function its attributes, the names that it uses, and what its closure holds."""
    attributes, slots = state
    fn.__dict__.update(attributes)
    fn.__globals__.update(slots.pop("__globals__"))
    del slots["_cloudpickle_submodules"]  # they are imported by now, which is all that they were for
    for cell, filled in zip(fn.__closure__ or (), slots.pop("__closure__") or (), strict=True):
        try:
            cell.cell_contents = filled.cell_contents
        except ValueError:  # it is empty
            pass
    for name, value in slots.items():
        setattr(fn, name, value)


def make_cell(*contents: "Any") -> "CellType":
    """A cell of a closure, with contents if there are any."""
    made: CellType = _CELL(*contents)
    return made


def find_builtin_type(name: str) -> "Any":
    """The class of that name in `types`."""
    import types

    return getattr(types, name)


def import_module(name: str) -> "Any":
    """The module, imported if need be."""
    __import__(name)
    return sys.modules[name]

"""How a function leaves an interpreter for another one; `_loading` has how it arrives.

An importable function travels as (module, qualname) and is looked up on the other side. Everything else (functions of
`__main__`, of a REPL or notebook, lambdas, closures, bound methods, partials) travels by value as a cloudpickle blob,
addressed by its blake2b-128: an interpreter that has met the key before never looks at the blob again.

# Invariants

- S1 By name only if the lookup gives back the very same object, in a module that another interpreter can find.
- S2 A function whose blob refers to channel ends is unpickled for every task: its ends belong to one task.
- S3 A remembered blob is reused only while every object that the function reaches is the one it was pickled with, and
  none of these objects can change in place.
- S4 A blob begins with the number of the bytecode that the functions in it are made of; another Python refuses these,
  and only these: values travel between versions.
"""

from __future__ import annotations

import functools
import sys
import threading
import types
from _frozen_importlib_external import MAGIC_NUMBER
from collections.abc import Iterator

from . import _native, _rebuild
from ._errors import CloneError
from ._loading import End, Function

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from typing import Any

_END_TYPES = (_native.Channel, _native.Sender, _native.Receiver)
_REMEMBERED_FUNCTIONS = 128
_CO_COROUTINE = 0x80
_CO_ASYNC_GENERATOR = 0x200
"""As in inspect, without the import of it."""


type Shipment = tuple[str, Any, tuple[End, ...], _native.Region | None]
"""What `_native.submit` needs to name a function: how, target, channel ends (the head of its payload), and the blob."""


def pack(fn: Function, path: tuple[str, ...] = ()) -> Shipment:
    """Make *fn* ready for another interpreter, which is to look for modules in *path* too.

    Never blocks. Raises TypeError when *fn* cannot be called or is an async generator function, CloneError when it
    refers to something that cannot leave this interpreter.

        pack(math.sqrt)        # ('name', ('math', 'sqrt'), (), None)
    """
    name = _importable_name(fn)
    if name is not None:
        _refuse_async_generator(fn)
        return "name", (*name, *path), (), None
    if not callable(fn):
        raise TypeError(f"cannot run {fn!r} in another interpreter (it is not callable); pass a function")
    _refuse_async_generator(fn)
    remembered = _remembered.get(id(fn))
    if remembered is not None and remembered.function is fn and remembered.unchanged():
        key, region = remembered.key, remembered.region
        ends: tuple[End, ...] = ()
    else:
        blob, ends = dump(fn)
        key, region = _key(blob), _native.Region(blob)
        if not ends and type(fn) is types.FunctionType:
            _remember(fn, key, region)
    return "value", (key, *path) if path else key, ends, region


def dump(value: object) -> tuple[bytes, tuple[End, ...]]:
    """Pickle *value* by cloudpickle; channel ends in it become indices into the returned tuple.

    Raises CloneError that names the part which cannot be pickled.
    """
    import io

    stream = io.BytesIO()
    pickler = _pickler_type()(stream)
    try:
        pickler.dump(value)
    except (Exception, RecursionError) as error:
        raise _blame(value, error) from error
    return MAGIC_NUMBER + stream.getvalue(), tuple(pickler.ends)


def dump_plain(value: object) -> bytes:
    """`dump` for what pickle knows by itself: values of built-in types, and names."""
    import _pickle

    return MAGIC_NUMBER + _pickle.dumps(value)


def refusal(fn: object, version: str) -> CloneError:
    """The error that says why *fn* cannot go to a Python of another *version*."""
    return CloneError(_name_of(fn), type(fn).__name__, hint=_rebuild.ANOTHER_VERSION.format(version=version))


_first_path: list[str] = []


def new_path() -> tuple[str, ...]:
    """What was added to `sys.path` since the first call: hosts that started before it must hear of it."""
    if not _first_path:
        _first_path[:] = sys.path
    if sys.path == _first_path:
        return ()
    return tuple(entry for entry in sys.path if entry not in _first_path)


def forget() -> None:
    """Drop every function that was sent elsewhere: a new session begins in this interpreter."""
    _remembered.clear()
    _findable.clear()
    _first_path.clear()
    if (clone := sys.modules.get("atoll._clone")) is not None:
        clone.forget()
    if (cloudpickle := sys.modules.get("cloudpickle")) is not None:
        for name in list(cloudpickle.list_registry_pickle_by_value()):
            cloudpickle.cloudpickle._PICKLE_BY_VALUE_MODULES.discard(name)


# By name ---------------------------------------------------------------------------------------------------------


def _importable_name(fn: object) -> tuple[str, str] | None:
    """(module, qualname) under which another interpreter finds exactly *fn* (S1), or None."""
    try:
        qualname = getattr(fn, "__qualname__", None)
        module_name = getattr(fn, "__module__", None)
        if module_name is None:
            # str.upper and its like know their class, not their module.
            module_name = getattr(getattr(fn, "__objclass__", None), "__module__", None)
        if type(qualname) is not str or type(module_name) is not str or module_name == "__main__":
            return None
        module = sys.modules.get(module_name)
        if module is None:
            return None
        found: object = module
        for part in qualname.split("."):
            found = getattr(found, part, None)
    except Exception:  # a `__getattr__` of the user's may raise anything
        return None
    if found is not fn or not _is_findable(module_name, module) or _is_registered(module_name):
        return None
    return module_name, qualname


def _is_registered(name: str) -> bool:
    """Whether the user told cloudpickle to send this module, or a package around it, by value."""
    # Absent, or still being imported by another thread: then nobody can have registered anything.
    list_registered = getattr(sys.modules.get("cloudpickle"), "list_registry_pickle_by_value", None)
    if list_registered is None or not (registered := list_registered()):
        return False
    while name:
        if name in registered:
            return True
        name = name.rpartition(".")[0]
    return False


_findable: set[str] = set()


def _is_findable(name: str, module: object) -> bool:
    """Whether an import of *name* would succeed in an interpreter with this one's path; asked once per module."""
    if name in _findable:
        return True
    if getattr(module, "__spec__", None) is None:
        return False
    parent, _, _ = name.rpartition(".")
    path = None
    if parent:
        package = sys.modules.get(parent)
        if package is None or not _is_findable(parent, package):
            return False
        path = getattr(package, "__path__", None)
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        if find_spec is not None and find_spec(name, path) is not None:
            _findable.add(name)
            return True
    return False


# By value --------------------------------------------------------------------------------------------------------


def _key(blob: bytes) -> bytes:
    import hashlib

    return hashlib.blake2b(blob, digest_size=16).digest()


@functools.cache
def _pickler_type() -> Any:
    import cloudpickle
    from cloudpickle import cloudpickle as inside

    # Nobody needs cloudpickle to put these together.
    stand_ins: dict[Any, Any] = {
        inside._make_function: _rebuild.make_function,
        inside._function_setstate: _rebuild.fill_function,
        inside._make_cell: _rebuild.make_cell,
        inside._make_empty_cell: _rebuild.make_cell,
        inside._builtin_type: _rebuild.find_builtin_type,
        inside.subimport: _rebuild.import_module,
    }

    def translated(parts: Any) -> Any:
        return tuple(stand_ins.get(part, part) if callable(part) else part for part in parts)

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc, name-defined, unused-ignore]
        """cloudpickle, with channel ends set aside instead of pickled, and `_rebuild` in place of its own functions."""

        dispatch_table = cloudpickle.Pickler.dispatch_table.new_child(
            {
                types.CellType: lambda cell: translated(inside._cell_reduce(cell)),
                types.ModuleType: lambda module: translated(inside._module_reduce(module)),
            }
        )

        def __init__(self, stream: Any) -> None:
            super().__init__(stream)
            self.ends: list[End] = []

        def persistent_id(self, value: Any) -> int | None:
            if isinstance(value, _END_TYPES):
                self.ends.append(value)
                return len(self.ends) - 1
            return None

        def reducer_override(self, value: Any) -> Any:
            module = getattr(value, "__module__", None) if isinstance(value, (type, types.FunctionType)) else None
            if module is not None and module != "__main__" and module in sys.modules:
                _ship_by_value_if_lost(module, cloudpickle)
            parts = super().reducer_override(value)
            return parts if parts is NotImplemented else translated(parts)

    return Pickler


def _ship_by_value_if_lost(name: str, cloudpickle: Any) -> None:
    """A module that exists only in this process (made at run time) has nothing to be imported from elsewhere."""
    module = sys.modules[name]
    if name not in _findable and not _is_findable(name, module) and isinstance(module, types.ModuleType):
        cloudpickle.register_pickle_by_value(module)


# Not pickling an unchanged function twice ------------------------------------------------------------------------


class _Remembered:
    """A function's blob, and what the function reached when it was made."""

    __slots__ = ("function", "key", "region", "snapshot")

    def __init__(self, function: types.FunctionType, snapshot: _Snapshot, key: bytes, region: _native.Region) -> None:
        self.function = function
        self.snapshot = snapshot
        self.key = key
        self.region = region

    def unchanged(self) -> bool:
        """Whether pickling again would give the same bytes (S3)."""
        return self.snapshot.unchanged()


_ABSENT = object()
_remembered: dict[int, _Remembered] = {}
_remembered_lock = threading.Lock()
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(...), range})


def _remember(fn: types.FunctionType, key: bytes, region: _native.Region) -> None:
    snapshot = _Snapshot()
    if not snapshot.add(fn):
        return
    record = _Remembered(fn, snapshot, key, region)
    with _remembered_lock:
        while len(_remembered) >= _REMEMBERED_FUNCTIONS:
            del _remembered[next(iter(_remembered))]
        # A dead function's id may have been given to a new one: the record holds the function, so it is not dead.
        _remembered[id(fn)] = record


class _Snapshot:
    """Everything a plain function reaches; `add` says False as soon as something in it could change in place."""

    def __init__(self) -> None:
        self.functions: list[tuple[types.FunctionType, types.CodeType, object]] = []
        self.cells: list[tuple[types.CellType, object]] = []
        self.names: list[tuple[dict[str, Any], str, object]] = []
        self._seen: set[int] = set()

    def add(self, fn: types.FunctionType) -> bool:
        if id(fn) in self._seen:
            return True
        self._seen.add(id(fn))
        if fn.__kwdefaults__ is not None or fn.__dict__ or not self._is_settled(fn.__defaults__):
            return False
        self.functions.append((fn, fn.__code__, fn.__defaults__))
        for cell in fn.__closure__ or ():
            value = _contents(cell)
            self.cells.append((cell, value))
            if value is not _ABSENT and not self._is_settled(value):
                return False
        for name in _names_of(fn.__code__):
            value = fn.__globals__.get(name, _ABSENT)
            self.names.append((fn.__globals__, name, value))
            if value is not _ABSENT and not self._is_settled(value):
                return False
        return True

    def unchanged(self) -> bool:
        """Whether all of it is as it was when it was added."""
        for function, code, defaults in self.functions:
            if function.__code__ is not code or function.__defaults__ is not defaults:
                return False
            if function.__kwdefaults__ is not None or function.__dict__:
                return False
        for names, name, value in self.names:
            if names.get(name, _ABSENT) is not value:
                return False
        return all(_contents(cell) is value for cell, value in self.cells)

    def _is_settled(self, value: object) -> bool:
        kind = type(value)
        if kind in _ATOMS:
            return True
        if isinstance(value, types.ModuleType):
            return _is_findable(value.__name__, value)
        if kind in (tuple, frozenset):
            return all(self._is_settled(item) for item in value)  # type: ignore[attr-defined]
        if _importable_name(value) is not None:
            return True
        return isinstance(value, types.FunctionType) and self.add(value)


def _contents(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return _ABSENT


def _names_of(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_of(constant)


# Saying what is wrong --------------------------------------------------------------------------------------------

_HINTS = {
    "lock": "make it inside the function; tasks share nothing, so hand work over through a Channel",
    "RLock": "make it inside the function; tasks share nothing, so hand work over through a Channel",
    "Event": "use a Channel to signal; tasks share nothing",
    "Condition": "use a Channel to signal; tasks share nothing",
    "Semaphore": "use a Channel with a capacity instead; tasks share nothing",
    "Queue": "use an atoll.Channel instead",
    "SimpleQueue": "use an atoll.Channel instead",
    "generator": "send a list of its values, or a Receiver that they come from",
    "coroutine": "pass the async function that makes it, and its arguments",
    "socket": "pass the address and open it inside the function",
    "TextIOWrapper": "pass the path and open it inside the function",
    "BufferedReader": "pass the path and open it inside the function",
    "BufferedWriter": "pass the path and open it inside the function",
    "Thread": "start it inside the function",
    "frame": "pass the values that you need from it",
    "Task": "pass a Sender and let the task send its result",
    "TaskGroup": "open a group inside the function",
    "Interpreter": "open one inside the function",
}


def _hint_for(value: object) -> str:
    hint = _HINTS.get(type(value).__name__)
    return hint or "make it inside the function, or pass what it is made from as an argument"


def _refuse_async_generator(fn: Any) -> None:
    if _flags_of(fn) & _CO_ASYNC_GENERATOR:
        raise TypeError(
            f"cannot run {_name_of(fn)} in another interpreter (it is an async generator function, whose values have "
            "nowhere to go); pass an async function that sends them to a Channel"
        )


def refuse_async(fn: Any, verb: str, place: str = "") -> None:
    """Raise TypeError for an async function, where only what a call returns will do."""
    if _flags_of(fn) & _CO_COROUTINE:
        name = _name_of(fn)
        raise TypeError(
            f"cannot {verb} {name}{place} (it is an async function); "
            f"spawn() it, or pass a function that calls asyncio.run({name}(...))"
        )


def _flags_of(fn: Any) -> int:
    """What kind of function it is: the flags of its code, 0 if it has none."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    if isinstance(fn, types.MethodType):
        fn = fn.__func__
    return fn.__code__.co_flags if isinstance(fn, types.FunctionType) else 0


def _name_of(fn: object) -> str:
    try:
        name = fn.__qualname__  # type: ignore[attr-defined]
    except Exception:
        name = type(fn).__qualname__
    return str(name)


def _blame(value: object, error: BaseException) -> CloneError:
    """The CloneError that names the smallest part of *value* which refuses to be pickled."""
    owner = _name_of(value)
    # cloudpickle turns a RecursionError into a PicklingError that speaks of it.
    if isinstance(error, RecursionError) or "recursion" in str(error):
        return CloneError(owner, type(value).__name__, hint="what it refers to is nested too deep; pass less of it")
    for path, part in _parts(value):
        if not _refuses(part):
            continue
        culprit_path, culprit = _drill(path, part)
        where = f"{culprit_path} in {owner}" if culprit_path != owner else owner
        return CloneError(where, type(culprit).__name__, hint=_hint_for(culprit))
    return CloneError(owner, type(value).__name__, hint=f"{type(error).__name__}: {error}; {_hint_for(value)}")


def _refuses(value: object) -> bool:
    import io

    try:
        _pickler_type()(io.BytesIO()).dump(value)
    except (Exception, RecursionError):
        return True
    return False


def _drill(path: str, value: object) -> tuple[str, object]:
    seen: set[int] = set()
    while id(value) not in seen and len(seen) < 50:
        seen.add(id(value))
        for part_path, part in _parts(value, path):
            if id(part) not in seen and _refuses(part):
                path, value = part_path, part
                break
        else:
            break
    return path, value


def _parts(value: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """What *value* holds, with the path a reader would write for it."""
    if isinstance(value, types.FunctionType):
        variables = value.__code__.co_freevars
        for name, cell in zip(variables, value.__closure__ or (), strict=False):
            yield name, _contents(cell)
        for name in dict.fromkeys(_names_of(value.__code__)):
            if name in value.__globals__:
                yield name, value.__globals__[name]
        for index, default in enumerate(value.__defaults__ or ()):
            yield f"{value.__name__}.__defaults__[{index}]", default
        for name, default in (value.__kwdefaults__ or {}).items():
            yield f"{value.__name__}.__kwdefaults__[{name!r}]", default
        yield from ((f"{value.__name__}.{name}", part) for name, part in value.__dict__.items())
    elif isinstance(value, functools.partial):
        yield path or _name_of(value.func), value.func
        for index, argument in enumerate(value.args):
            yield f"args[{index}]", argument
        for name, argument in value.keywords.items():
            yield f"kwargs[{name!r}]", argument
    elif isinstance(value, types.MethodType):
        yield path or "self", value.__self__
        yield path or _name_of(value), value.__func__
    elif isinstance(value, dict):
        for key, part in list(value.items()):
            yield f"{path}[{key!r}]", part
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield f"{path}[{index}]", part
    elif isinstance(value, (set, frozenset)):
        for part in list(value):
            yield f"{path}{{...}}", part
    elif isinstance(value, type):
        for name, part in list(vars(value).items()):
            yield f"{path or value.__qualname__}.{name}", part
    else:
        for name, part in list(getattr(value, "__dict__", {}).items()):
            yield f"{path or type(value).__name__}.{name}", part

"""What a clone does with each type, and what it needs Python for: the native walkers call this module.

For a class, `plan` says once how its instances cross; the walkers remember it until the class changes. Objects without
a plan of their own take the road of `pickle`: a registered reducer, or `__reduce_ex__(5)`.

# Invariants

- R1 A class or function crosses by name only if the name means the very same object (as `_shipping` judges it).
- R2 A class by value is loaded once per content in each interpreter; one that was defined here comes back as itself.
"""

from __future__ import annotations

import copyreg
import sys
import types
import weakref
from importlib import import_module

from . import _loading, _native, _rebuild, _shipping
from ._errors import CloneError

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from collections.abc import Callable, Iterable
    from typing import Any

type Reduction = tuple[Any, ...] | str
type Reducer = Callable[[Any], Reduction]
type Plan = tuple[int, str | None, str | None, bool, tuple[str, ...], Reducer | None]
"""How; module and qualified name (None: the class travels by value); whether there is a `__dict__`; slots; reducer."""

PLAIN, REDUCE, REDUCER, BUFFER, SHARE, DEQUE, DEFAULT_DICT, ORDERED_DICT, NAMED_TUPLE = range(9)

_PROTOCOL = 5
_new_object = copyreg.__newobj__  # type: ignore[attr-defined, unused-ignore]
_HEAP_TYPE = 1 << 9
_VALUES_KEPT = 256
_LARGEST_KEPT = 64 * 1024
"""Bytes of a blob whose value is kept: a closure over more than that would be held in memory for nothing."""


def plan(cls: type) -> Plan:
    """How instances of *cls* cross, and by which name *cls* itself does."""
    module, qualname = _class_name(cls) or (None, None)
    if cls not in _registered and callable(getattr(cls, "__atoll_share__", None)):
        return SHARE, module, qualname, False, (), None
    reducer = _reducer_of(cls)
    if reducer is not None:
        return REDUCER, module, qualname, False, (), reducer
    if cls.__name__ == "PickleBuffer" and cls.__module__ in ("_pickle", "pickle"):
        return BUFFER, module, qualname, False, (), None
    collection = _collection(cls)
    if collection is not None:
        return collection, module, qualname, False, (), None
    slots = _slots_of_uuid(cls) or _plain_slots(cls)
    if slots is None:
        return REDUCE, module, qualname, False, (), None
    return PLAIN, module, qualname, bool(cls.__dictoffset__), slots, None


def find(module: str, qualname: str) -> Any:
    """Look up what crossed by name, importing the module if need be."""
    return _loading.look_up(module, qualname)


def global_name(value: object, name: str) -> tuple[str, str]:
    """(module, qualname) of *value*, whose reduction says that it is the global *name*."""
    module = getattr(value, "__module__", None) or _module_with(value, name)
    found: Any = sys.modules.get(module) if type(module) is str else None
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        found = None
    if found is not value or module == "__main__":
        raise TypeError(f"{name!r} of module {module!r} is not this object")
    return str(module), name


def _module_with(value: object, name: str) -> str | None:
    for module, contents in list(sys.modules.items()):
        if module != "__main__" and getattr(contents, name, None) is value:
            return module
    return None


def refusal(path: str, type_name: str, hint: str, cause: BaseException | None) -> BaseException:
    """The exception to raise where *cause* kept an object from being cloned."""
    if cause is None:
        return CloneError(path, type_name, hint)
    if not isinstance(cause, Exception) or isinstance(cause, (MemoryError, RecursionError)):
        return cause
    if isinstance(cause, CloneError):
        inner = CloneError(f"{path} → {cause.path}", cause.type_name, cause.hint)
    elif isinstance(cause, TypeError) or type(cause).__name__ == "PicklingError":
        inner = CloneError(path, type_name, hint)
    else:
        inner = CloneError(
            path,
            type_name,
            f"taking it apart raised {type(cause).__name__}: {cause}; correct its __reduce_ex__ or __atoll_share__",
        )
    inner.__cause__ = cause
    return inner


def flattened(pairs: Iterable[tuple[object, object]]) -> list[object]:
    """Keys and values in turn."""
    return [part for pair in pairs for part in pair]


def set_state(value: Any, state: Any) -> None:
    """Give a rebuilt object its state, as pickle would."""
    setstate = getattr(value, "__setstate__", None)
    if setstate is not None:
        setstate(state)
        return
    slots = None
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    if state:
        own = value.__dict__
        for name, content in state.items():
            own[sys.intern(name) if type(name) is str else name] = content
    if slots:
        for name, content in slots.items():
            setattr(value, name, content)


# Which way a class goes -------------------------------------------------------------------------------------------


def _class_name(cls: type) -> tuple[str, str] | None:
    found = _shipping._importable_name(cls)
    if found is None or cls.__module__ in ("__main__", "__mp_main__"):
        return None
    return found


def _reducer_of(cls: type) -> Reducer | None:
    if (registered := _registered.get(cls)) is not None:
        return registered
    if (known := copyreg.dispatch_table.get(cls)) is not None:
        return known
    if (own := _OWN.get(f"{cls.__module__}.{cls.__qualname__}")) is not None:
        return own
    if not _reduces_in_its_own_way(cls):
        for base in cls.__mro__:
            if _OWN.get(f"{base.__module__}.{base.__qualname__}") is _refuse:
                return _refuse
    if (by_type := _BY_TYPE.get(cls)) is not None:
        return by_type
    if issubclass(cls, BaseException):
        return _reduce_exception
    enum = sys.modules.get("enum")
    if enum is not None and issubclass(cls, enum.Enum) and "__reduce_ex__" not in vars(cls):
        return _reduce_enum
    return _reduce_arrow if _is_of_arrow(cls) else None


def _collection(cls: Any) -> int | None:
    """How a class of `collections` is read natively, if it is one of those."""
    collections = sys.modules.get("collections")
    if collections is None:
        return None
    if cls is collections.deque:
        return DEQUE
    if cls is collections.defaultdict:
        return DEFAULT_DICT
    if cls is collections.OrderedDict:
        return ORDERED_DICT
    made = vars(cls).get("__getnewargs__")
    if cls.__bases__ != (tuple,) or type(made) is not types.FunctionType or made.__globals__ is not vars(collections):
        return None
    # What namedtuple() made, and nobody gave a state or a way of its own.
    if cls.__dictoffset__ or _reduces_in_its_own_way(cls) or hasattr(cls, "__setstate__"):
        return None
    return NAMED_TUPLE if cls.__getstate__ is object.__getstate__ else None  # type: ignore[attr-defined, unused-ignore]


def _reduces_in_its_own_way(cls: Any) -> bool:
    return cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__


def _is_of_arrow(cls: type) -> bool:
    """Whether instances are data that Arrow's libraries hand to each other, and no reader, which gives its own once."""
    offers = hasattr(cls, "__arrow_c_stream__") or hasattr(cls, "__arrow_c_array__")
    return offers and not hasattr(cls, "__next__") and _plain_slots(cls) is None


def _slots_of_uuid(cls: Any) -> tuple[str, ...] | None:
    """The slots of `uuid.UUID`, whose own state says nothing else, and takes four times as long."""
    uuid = sys.modules.get("uuid")
    return ("int", "is_safe") if uuid is not None and cls is uuid.UUID else None


def _plain_slots(cls: Any) -> tuple[str, ...] | None:
    """The slots of a class whose instances are `__dict__` and slots and nothing else."""
    if _reduces_in_its_own_way(cls):
        return None
    if cls.__new__ is not object.__new__ or cls.__itemsize__ or not cls.__flags__ & _HEAP_TYPE:
        return None
    if hasattr(cls, "__getnewargs_ex__") or hasattr(cls, "__getnewargs__"):
        return None
    if cls.__getstate__ is not object.__getstate__ or hasattr(cls, "__setstate__"):  # type: ignore[attr-defined, unused-ignore]
        dataclasses = sys.modules.get("dataclasses")
        if cls.__getstate__ is not getattr(dataclasses, "_dataclass_getstate", None):  # type: ignore[attr-defined, unused-ignore]
            return None
    slots = []
    size = object.__basicsize__
    for base in reversed(cls.__mro__):
        if base is object:
            continue
        if not base.__flags__ & _HEAP_TYPE:
            return None
        members = [item for item in vars(base).values() if type(item) is types.MemberDescriptorType]
        size += 8 * len(members)
        slots += [item.__name__ for item in members]
    # A class of an extension keeps what no slot shows.
    if cls.__basicsize__ - 8 * _hidden_words(cls) != size or len(set(slots)) != len(slots):
        return None
    return tuple(slots)


def _hidden_words(cls: type) -> int:
    """How many words of an instance are for `__dict__` and weak references and lie inside of its basic size."""
    return (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)


# Reducers of our own ----------------------------------------------------------------------------------------------


def _reduce_function(fn: types.FunctionType) -> Reduction:
    name = _shipping._importable_name(fn)
    if name is not None:
        return name[1]
    return load_shipped, ship(fn)


def _reduce_module(module: types.ModuleType) -> Reduction:
    name = module.__name__
    if sys.modules.get(name) is not module or not _shipping._is_findable(name, module):
        raise CloneError(name, "module", "it cannot be imported elsewhere; put it into a file on sys.path")
    return import_module, (name,)


def _reduce_mapping_proxy(proxy: types.MappingProxyType[Any, Any]) -> Reduction:
    return types.MappingProxyType, (dict(proxy),)


def _reduce_enum(member: Any) -> Reduction:
    cls, name = type(member), member._name_
    if name is not None and cls.__members__.get(name) is member:
        return getattr, (cls, name)
    reduction: Reduction = member.__reduce_ex__(_PROTOCOL)
    return reduction


def _reduce_memoryview(view: memoryview) -> Reduction:
    from pickle import PickleBuffer

    whole = view if view.c_contiguous else memoryview(view.tobytes())
    return _rebuild_memoryview, (PickleBuffer(whole), view.format, view.shape, view.readonly)


def _rebuild_memoryview(data: Any, form: str, shape: tuple[int, ...], readonly: bool) -> memoryview:
    view = memoryview(data)
    if (form, shape) != ("B", (view.nbytes,)):
        view = view.cast("B").cast(form, shape) if 0 not in shape else view.cast("B").cast(form)  # type: ignore[call-overload]
    return view.toreadonly() if readonly and not view.readonly else view


def _reduce_array(array: Any) -> Reduction:
    from pickle import PickleBuffer

    return _rebuild_array, (array.typecode, PickleBuffer(array))


def _rebuild_array(typecode: str, data: Any) -> Any:
    import array

    rebuilt = array.array(typecode)
    rebuilt.frombytes(data)
    return rebuilt


def _reduce_arrow(value: Any) -> Reduction:
    from . import _arrow

    return _arrow.reduce(value)


def _refuse(value: object) -> Reduction:
    raise TypeError(f"cannot take a {type(value).__name__} apart")


_OWN: dict[str, Reducer] = {
    "array.array": _reduce_array,
    "threading.Thread": _refuse,
    "threading.Event": _refuse,
    "threading.Condition": _refuse,
    "threading.Semaphore": _refuse,
    "threading.Barrier": _refuse,
    "queue.Queue": _refuse,
    "queue.LifoQueue": _refuse,
    "queue.PriorityQueue": _refuse,
    "socket.socket": _refuse,
    "builtins.map": _refuse,
    "builtins.filter": _refuse,
    "builtins.zip": _refuse,
    "builtins.enumerate": _refuse,
    "builtins.reversed": _refuse,
    "builtins.list_iterator": _refuse,
    "builtins.tuple_iterator": _refuse,
    "builtins.set_iterator": _refuse,
}
_BY_TYPE: dict[type, Reducer] = {
    types.FunctionType: _reduce_function,
    types.ModuleType: _reduce_module,
    types.MappingProxyType: _reduce_mapping_proxy,
    memoryview: _reduce_memoryview,
    types.CodeType: _refuse,
    types.CellType: _refuse,
    types.TracebackType: _refuse,
    types.FrameType: _refuse,
}


# Exceptions -------------------------------------------------------------------------------------------------------


def _reduce_exception(error: BaseException) -> Reduction:
    cls = type(error)
    links = (error.__cause__, error.__context__, error.__suppress_context__)
    if error.__cause__ is None and error.__traceback__ is not None:
        from ._errors import RemoteTraceback
        from ._failures import _format

        links = (RemoteTraceback(_format(error)), *links[1:])
    if _reduces_itself(cls):
        made = error.__reduce_ex__(_PROTOCOL)
        if isinstance(made, tuple):
            return made[0], made[1], (made[2:], vars(error).get("__notes__"), links), None, None, _finish_reduced
    arguments: tuple[Any, ...] = error.args
    if isinstance(error, BaseExceptionGroup):
        arguments = (error.message, list(error.exceptions))
    state = (dict(vars(error)), _attributes(error), links)
    return _make_exception, (cls, arguments), state, None, None, _finish_exception


def _attributes(error: BaseException) -> dict[str, Any]:
    """What is no part of `args` and `__dict__`: OSError.filename, SyntaxError.lineno, `__slots__`."""
    from ._failures import _SKIPPED

    found: dict[str, Any] = {}
    if isinstance(error, BaseExceptionGroup):
        return found
    for cls in type(error).__mro__:
        if cls is BaseException or cls is object:
            continue
        for name, descriptor in list(vars(cls).items()):
            if name.startswith("__") or name in _SKIPPED:
                continue
            if isinstance(descriptor, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                value = getattr(error, name, None)
                if value is not None:
                    found[name] = value
    return found


def _reduces_itself(cls: type) -> bool:
    for base in cls.__mro__:
        if not base.__flags__ & _HEAP_TYPE:
            return False
        if "__reduce__" in vars(base) or "__reduce_ex__" in vars(base) or "__getstate__" in vars(base):
            return True
    return False


def _make_exception(cls: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    """An exception whose `__init__` was not asked: it may want anything."""
    maker = next(base for base in cls.__mro__ if not base.__flags__ & _HEAP_TYPE)
    error: BaseException = maker.__new__(cls, *arguments)
    if not isinstance(error, BaseExceptionGroup):
        error.args = arguments
    return error


def _finish_exception(error: BaseException, state: tuple[Any, ...]) -> None:
    from ._failures import _set

    attributes, slots, links = state
    for name, value in slots.items():
        _set(error, name, value)
    vars(error).update(attributes)
    _link(error, links)


def _finish_reduced(error: BaseException, state: tuple[Any, ...]) -> None:
    (own, notes, links) = state
    if own and own[0] is not None:
        set_state(error, own[0])
    if notes is not None:
        error.__notes__ = notes
    _link(error, links)


def _link(error: BaseException, links: tuple[Any, ...]) -> None:
    error.__cause__, error.__context__, error.__suppress_context__ = links


# By value ---------------------------------------------------------------------------------------------------------

_values: dict[bytes, Any] = {}
"""What was shipped by value from or to here, by the hash of its content (R2)."""

_arrived: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes that were defined elsewhere: another content of one of them brings its methods up to date."""


type Shipment = tuple[bytes, bytes | _native.Memory, tuple[Any, ...]]
"""Hash of the content, content, and the channel ends in it. Content that is kept is memory: messages refer to it."""


def ship(value: object) -> Shipment:
    """The arguments of `load_shipped` that give *value* elsewhere."""
    if not isinstance(value, (type, types.FunctionType)):
        return _ship_anew(value)
    known = _shipped.get(value)
    if known is not None and known[0].unchanged():
        return known[1]
    shipment = _ship_anew(value)
    record = _Settled()
    if not shipment[2] and len(shipment[1]) <= _LARGEST_KEPT and record.add_whole(value):
        if len(_shipped) >= _VALUES_KEPT:
            _shipped.clear()
        _shipped[value] = record, shipment
    return shipment


def _ship_anew(value: object) -> Shipment:
    blob, ends = _shipping.dump(value)
    key = _shipping._key(blob)
    if not ends and len(blob) <= _LARGEST_KEPT:
        _keep(key, value)
        return key, _native.share_bytes(blob), ends
    return key, blob, ends


class _Settled(_shipping._Snapshot):
    """What a class or function by value reaches, for as long as all of it is the same: then its blob is, too.

    The attributes of the class are compared by identity: one that changes in place does not make the class another.
    """

    def __init__(self) -> None:
        super().__init__()
        self._classes: dict[weakref.ref[type], list[tuple[str, object]]] = {}

    def add_whole(self, value: type | types.FunctionType) -> bool:
        return self.add_class(value) if isinstance(value, type) else self.add(value)

    def add_class(self, cls: type) -> bool:
        if weakref.ref(cls) in self._classes:
            return True
        contents = list(vars(cls).items())
        self._classes[weakref.ref(cls)] = contents
        return all(self._is_settled(base) for base in cls.__bases__) and all(
            self._is_settled(part) for _, value in contents for part in _functions_in(value)
        )

    def unchanged(self) -> bool:
        for reference, contents in self._classes.items():
            cls = reference()
            if cls is None or len(contents) != len(vars(cls)):
                return False
            now = vars(cls)
            for name, value in contents:
                if now.get(name) is not value:
                    return False
        return super().unchanged()

    def _is_settled(self, value: object) -> bool:
        if isinstance(value, type) and _class_name(value) is None:
            return self.add_class(value)
        if isinstance(value, types.FunctionType) and _is_of_library(value):
            return True
        if isinstance(value, types.BuiltinMethodType) and isinstance(value.__self__, type):
            return True
        return type(value).__module__ == "dataclasses" or super()._is_settled(value)


def _functions_in(value: Any) -> list[object]:
    """The functions of an attribute of a class."""
    if isinstance(value, types.FunctionType):
        return [value]
    if isinstance(value, (classmethod, staticmethod)):
        return [value.__func__]
    if isinstance(value, property):
        return [function for function in (value.fget, value.fset, value.fdel) if function is not None]
    return []


def _is_of_library(fn: types.FunctionType) -> bool:
    """Whether the function lives in a module that can be imported, so that its globals are found there."""
    name = fn.__globals__.get("__name__")
    module = sys.modules.get(name) if type(name) is str else None
    if module is None or name == "__main__" or module.__dict__ is not fn.__globals__:
        return False
    return _shipping._is_findable(str(name), module) and not _shipping._is_registered(str(name))


_shipped: weakref.WeakKeyDictionary[type | types.FunctionType, tuple[_Settled, Shipment]] = weakref.WeakKeyDictionary()


def load_shipped(key: bytes, blob: bytes | _native.Memory, ends: tuple[Any, ...]) -> Any:
    """What `ship` was given in another interpreter, or here."""
    known = _values.get(key)
    if known is not None and not ends:
        return known
    before = _tracked()
    value = _undump(blob, ends)
    _arrived.update(cls for cls in _tracked() - before)
    if not ends and len(blob) <= _LARGEST_KEPT:
        _keep(key, value)
    return value


def forget() -> None:
    """Drop what came from elsewhere or was sent there, and what was registered: a new session begins here."""
    _values.clear()
    _shipped.clear()
    _registered.clear()
    _native.forget_plans()


def _keep(key: bytes, value: object) -> None:
    while len(_values) >= _VALUES_KEPT:
        _values.pop(next(iter(_values)), None)
    _values[key] = value


def _tracked() -> set[type]:
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    return set(cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS) if cloudpickle is not None else set()


def _undump(blob: bytes | _native.Memory, ends: tuple[Any, ...]) -> Any:
    import io
    from _frozen_importlib_external import MAGIC_NUMBER

    import cloudpickle.cloudpickle as tracker

    class Unpickler(_rebuild.Unpickler):
        def _skeleton(self, make: Any, *description: Any) -> Any:
            known = tracker._DYNAMIC_CLASS_TRACKER_BY_ID.get(description[-2])
            if known in _arrived:
                return make(*description)
            return super()._skeleton(make, *description)

        def find_class(self, module: str, name: str) -> Any:
            if is_foreign and module.startswith("cloudpickle") and name.startswith("_make_skeleton"):
                raise _foreign("a class")
            return super().find_class(module, name)

    stream = io.BytesIO(blob)
    is_foreign = stream.read(len(MAGIC_NUMBER)) != MAGIC_NUMBER
    try:
        return Unpickler(stream, ends, True, is_foreign).load()
    except CloneError:
        raise
    except Exception as error:
        if is_foreign:
            raise _foreign("a value") from error
        raise


def _foreign(what: str) -> CloneError:
    return _rebuild.foreign(what, "code of another Python")


# Registered -------------------------------------------------------------------------------------------------------

_registered: dict[type, Reducer] = {}


def register(cls: type, reduce: Callable[[Any], Any], rebuild: Callable[[Any], Any]) -> None:
    """See `atoll.register`."""
    if not isinstance(cls, type):
        raise TypeError(f"cannot register {cls!r} (it is no class); pass the class whose instances are to be cloned")
    for name, function in (("reduce", reduce), ("rebuild", rebuild)):
        if not callable(function):
            raise TypeError(f"cannot register {cls.__name__} ({name} is not callable); pass a function of one argument")
    if cls.__module__ == "builtins":
        raise ValueError(
            f"cannot register {cls.__name__} (Atoll clones built-in types itself); register a class of your own"
        )
    _registered[cls] = lambda value: (rebuild, (reduce(value),))
    _native.forget_plans()

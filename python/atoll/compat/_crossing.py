"""How an object gets from one interpreter into another, by the rules of `concurrent.interpreters`.

What is shareable crosses as itself; memoryviews share their memory; functions without state cross as their code and run
with the receiver's `__main__`; everything else is pickled. Functions and classes of a script are found by running the
script once more in the receiver, as `<fake __main__>`.

An object in transit is an *item*, (form, payload), made of types that every `atoll.Channel` carries.
"""

from __future__ import annotations

import _interpqueues
import builtins
import io
import marshal
import pickle
import sys
import types
from _interpreters import NotShareableError
from collections.abc import Callable
from typing import Any

type Item = tuple[int, Any]

PLAIN, PICKLED, BUFFER, FUNCTION, TUPLE, QUEUE, RECV_CHANNEL, SEND_CHANNEL = range(8)

ATOMS = frozenset({type(None), bool, int, float, str, bytes})
"""Types whose objects are items without further ado."""
_SEQUENCES = frozenset({list, tuple, set, frozenset})
_MOST_CONTAINERS = 256
"""Looking through more takes longer than pickling them, and for ever if one holds itself."""
FAKE_MAIN = "<fake __main__>"

encoders: dict[type, Callable[[Any], Item]] = {}
decoders: dict[int, Callable[[Any], Any]] = {}
"""The queue and channel modules enter their types here."""


def encode(value: object, *, plainly: bool = True) -> Item:
    """Make *value* an item; *plainly* lets containers cross as they are, which a channel may refuse (CloneError).

    Raises NotShareableError for what can be neither shared nor pickled.
    """
    cls = type(value)
    if cls in ATOMS:
        return PLAIN, value
    encoder = encoders.get(cls)
    if encoder is not None:
        return encoder(value)
    if isinstance(value, tuple) and cls is tuple and any(type(part) in encoders for part in value):
        return TUPLE, [encode(part, plainly=plainly) for part in value]
    if plainly and _is_plain(value):
        return PLAIN, value
    return _pickle(value)


def _is_plain(value: object) -> bool:
    """Whether *value* holds nothing but what pickle and a channel agree about: a channel takes functions, too."""
    containers = [value]
    for container in containers:  # grows while it is walked
        cls = type(container)
        parts: Any = container
        if cls is dict:
            if not ATOMS.issuperset(map(type, parts)):
                return False
            parts = parts.values()
        elif cls not in _SEQUENCES:
            if cls is complex or cls is bytearray:
                continue
            return False
        if not ATOMS.issuperset(map(type, parts)):
            containers += [part for part in parts if type(part) not in ATOMS]
            if len(containers) > _MOST_CONTAINERS:
                return False
    return True


def decode(item: Item) -> Any:
    """Undo `encode` in the receiver. Raises NotShareableError if something cannot be found or rebuilt here."""
    form, payload = item
    if form == PLAIN:
        return payload
    if form not in decoders:
        from . import _queues, channels  # noqa: F401 - they enter theirs
    return decoders[form](payload)


# By pickle -----------------------------------------------------------------------------------------------------------


def _pickle(value: object) -> Item:
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    try:
        return PICKLED, (pickle.dumps(value, pickle.HIGHEST_PROTOCOL), script)
    except Exception as error:
        raise NotShareableError("object could not be pickled") from error


def _unpickle(payload: Any) -> Any:
    data, script = payload
    try:
        return _Unpickler(io.BytesIO(data), script).load()
    except Exception as error:
        raise NotShareableError("object could not be unpickled") from error


class _Unpickler(pickle.Unpickler):
    """pickle, with the names of the sender's script found in a copy of it."""

    def __init__(self, stream: io.BytesIO, script: str | None) -> None:
        super().__init__(stream)
        self._script = script

    def find_class(self, module: str, name: str) -> Any:
        if module == FAKE_MAIN and FAKE_MAIN not in sys.modules:
            module = "__main__"  # it comes back to where the script runs
        if module != "__main__":
            return super().find_class(module, name)
        try:
            return super().find_class(module, name)
        except AttributeError:
            if self._script is None:
                raise
            _run_script(self._script)
            return super().find_class(FAKE_MAIN, name)


def _run_script(path: str) -> None:
    """Have a module in which the sender's script has run, but not as `__main__`; once in each interpreter."""
    known = sys.modules.get(FAKE_MAIN)
    if known is not None and getattr(known, "__file__", None) == path:
        return
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec")
    module = types.ModuleType(FAKE_MAIN)
    module.__file__ = path
    sys.modules[FAKE_MAIN] = module
    try:
        exec(code, vars(module))
    except BaseException:
        del sys.modules[FAKE_MAIN]
        raise


# Memory --------------------------------------------------------------------------------------------------------------


def encode_buffer(value: object) -> Item:
    """Share the memory of *value*: both sides see what either writes. It lives until both have let go of it."""
    # The standard library has the only vehicle for this: a queue of its own, for one passage.
    view = memoryview(value)  # type: ignore[arg-type]
    number: int = _interpqueues.create(1, *_PASSAGE)  # type: ignore[arg-type]
    try:
        _interpqueues.put(number, view, *_PASSAGE)  # type: ignore[arg-type]
    except BaseException:
        _interpqueues.destroy(number)
        raise
    return BUFFER, number


_PASSAGE = (3, -1) if sys.version_info >= (3, 14) else (0, 3)
"""Settings of that queue: before 3.14 how items are packed, and since 3.14 how not; they never become unbound."""


def _decode_buffer(number: int) -> Any:
    try:
        view, *_ = _interpqueues.get(number)
    except _interpqueues.QueueError as error:
        raise NotShareableError("memory of another copy of Python (an isolate's) cannot be shared here") from error
    _interpqueues.destroy(number)
    return view


# Functions -----------------------------------------------------------------------------------------------------------


def _encode_function(fn: types.FunctionType) -> Item:
    if is_stateless(fn):
        return FUNCTION, (marshal.dumps(fn.__code__), fn.__name__, fn.__qualname__)
    return _pickle(fn)


def _decode_function(payload: Any) -> types.FunctionType:
    code, name, qualname = payload
    fn = types.FunctionType(marshal.loads(code), vars(sys.modules["__main__"]), name)
    fn.__qualname__ = qualname
    return fn


def is_stateless(fn: types.FunctionType) -> bool:
    """Whether the code alone says what *fn* does: no closure, no defaults, no globals but the builtins."""
    if fn.__closure__ or fn.__defaults__ or fn.__kwdefaults__ or fn.__code__.co_freevars:
        return False
    import dis

    for instruction in dis.get_instructions(fn.__code__):
        if instruction.opname in ("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"):
            name = instruction.argval
            if name in fn.__globals__ or not hasattr(builtins, name):
                return False
    return True


encoders[memoryview] = encode_buffer
encoders[types.FunctionType] = _encode_function
decoders[PICKLED] = _unpickle
decoders[BUFFER] = _decode_buffer
decoders[FUNCTION] = _decode_function
decoders[TUPLE] = lambda items: tuple(decode(item) for item in items)

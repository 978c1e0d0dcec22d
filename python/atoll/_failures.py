"""How an exception gets from one interpreter into another, as its own type and without losing anything.

An exception is flattened into a table of records (itself, its causes, contexts and members of groups, each once, so
cycles are fine). A record holds the class by reference or by value, the arguments, the state and the attributes that
live in C. The other side rebuilds it without calling `__init__`. What cannot be pickled is replaced by its repr: an
exception always arrives. The text of the remote traceback becomes its cause, a RemoteTraceback.
"""

from __future__ import annotations

import _pickle
import sys
import types
from typing import Any

from . import _rebuild, _shipping
from ._errors import RemoteTraceback

_MOST_RECORDS = 64
"""Longer chains of causes lose their far end; the text of the traceback still shows it."""

_KEPT_FRAMES = 500
"""Of a traceback longer than twice this, the first and the last so many frames are kept."""

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
_SKIPPED = frozenset({"obj"})
"""Attributes that drag a whole object along for the sake of a suggestion in a traceback (AttributeError.obj)."""

type Record = dict[str, Any]


def dump_failure(error: BaseException) -> bytes:
    """Make *error* bytes that `load_failure` understands in any interpreter. Never raises.

    load_failure(dump_failure(ValueError("no")))      # ValueError('no'), with a RemoteTraceback as its cause
    """
    text = _format(error)
    try:
        return _pickle.dumps((text, _flatten(error)))
    except Exception as trouble:
        message = f"{type(error).__name__} (it could not be sent whole: {trouble!r})"
        return _pickle.dumps((text, [_record_of(RuntimeError(message))]))


def load_failure(blob: bytes) -> BaseException:
    """Rebuild the exception; its `__cause__` is the remote traceback, its `__context__` the original cause or context.

    May import the module that defines the class. A class that cannot be found here is replaced by its nearest base
    that can, and a note says so.
    """
    from . import _source_lines  # only failures pay for regular expressions

    text, records = _pickle.loads(blob)
    errors: dict[int, BaseException] = {}
    for index in reversed(range(len(records))):
        _build(index, records, errors, set())
    for index, record in enumerate(records):
        error = errors[index]
        error.__cause__ = errors.get(record["cause"])
        error.__context__ = errors.get(record["context"])
        error.__suppress_context__ = record["suppress_context"]
    error = errors[0]
    remote = RemoteTraceback(_source_lines.filled(text))
    original = error.__cause__ or error.__context__
    error.__cause__ = remote
    error.__context__ = original
    return error


# Taking apart ----------------------------------------------------------------------------------------------------


def _format(error: BaseException) -> str:
    import traceback

    left_out = sum(_shorten(one.__traceback__) for one in _related(error))
    try:
        text = "".join(traceback.format_exception(error))
    except Exception as trouble:
        return f"{type(error).__name__} (its traceback could not be formatted: {trouble!r})\n"
    return f"{text}({left_out} frames in the middle of the traceback are left out)\n" if left_out else text


def _shorten(trace: types.TracebackType | None) -> int:
    """Take the middle out of a traceback that nobody would read: formatting a million frames takes a minute."""
    entries = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    left_out = len(entries) - 2 * _KEPT_FRAMES
    if left_out <= 0:
        return 0
    entries[_KEPT_FRAMES - 1].tb_next = entries[-_KEPT_FRAMES]
    return left_out


def _related(error: BaseException) -> list[BaseException]:
    """*error*, its causes and contexts and the members of its groups, each once."""
    found = [error]
    known = {id(error)}
    for current in found:  # grows while it is walked
        members = current.exceptions if isinstance(current, BaseExceptionGroup) else ()
        for other in (*members, current.__cause__, current.__context__):
            if other is not None and id(other) not in known and len(found) < _MOST_RECORDS:
                known.add(id(other))
                found.append(other)
    return found


def _flatten(error: BaseException) -> list[Record]:
    """The records of *error* and all it refers to; links between them are indices, the first record is *error*."""
    found = _related(error)
    positions = {id(one): index for index, one in enumerate(found)}

    def position(other: BaseException | None) -> int:
        return positions.get(id(other), -1)

    records: list[Record] = []
    for current in found:
        record = _record_of(current)
        if isinstance(current, BaseExceptionGroup):
            members = [position(member) for member in current.exceptions]
            record["members"] = [member for member in members if member >= 0]
            record["args"] = [_dump(current.message)]
        record["cause"] = position(current.__cause__)
        record["context"] = position(current.__context__)
        records.append(record)
    return records


def _record_of(error: BaseException) -> Record:
    cls = type(error)
    return {
        "class": _dump_class(cls),
        "name": f"{cls.__module__}.{cls.__qualname__}",
        "args": [_dump(argument) for argument in error.args],
        "state": {name: _dump(value) for name, value in list(vars(error).items()) if isinstance(name, str)},
        "slots": _slots_of(error),
        "members": None,
        "cause": -1,
        "context": -1,
        "suppress_context": error.__suppress_context__,
    }


def _dump_class(cls: type) -> list[bytes | None]:
    """The class and its bases as blobs, nearest first: the other side takes the first that it can load."""
    blobs: list[bytes | None] = []
    for base in cls.__mro__:
        try:
            blobs.append(_dump_exactly(base))
        except Exception:
            blobs.append(None)
        if base.__module__ == "builtins":
            break
    return blobs


def _slots_of(error: BaseException) -> dict[str, bytes]:
    """The attributes that are no part of `args` and `__dict__`: OSError.filename, SyntaxError.lineno, `__slots__`."""
    slots = {}
    for cls in type(error).__mro__:
        if cls is BaseException or cls is object:
            continue
        for name, descriptor in list(vars(cls).items()):
            if name.startswith("__") or name in _SKIPPED or isinstance(error, BaseExceptionGroup):
                continue
            if isinstance(descriptor, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                try:
                    value = descriptor.__get__(error)
                except Exception:
                    continue
                if value is not None:
                    slots[name] = _dump(value)
    return slots


def _dump(value: object) -> bytes:
    try:
        return _dump_exactly(value)
    except Exception:
        return _shipping.dump_plain(_describe(value))


def _dump_exactly(value: object) -> bytes:
    kind = type(value)
    if kind in _PLAIN:
        return _shipping.dump_plain(value)
    if isinstance(value, type) and _shipping._importable_name(value) is not None:
        return _shipping.dump_plain(value)
    blob, ends = _shipping.dump(value)
    if ends:
        raise TypeError("an exception cannot carry channel ends")
    return blob


def _describe(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__} whose repr failed>"


# Putting together ------------------------------------------------------------------------------------------------


def _build(index: int, records: list[Record], errors: dict[int, BaseException], building: set[int]) -> BaseException:
    """Make the exception of one record, the members of a group first."""
    if index in errors:
        return errors[index]
    building.add(index)
    record = records[index]
    arguments = tuple(_load(blob) for blob in record["args"])
    if record["members"] is not None:
        members = [_build(i, records, errors, building) for i in record["members"] if i not in building]
        arguments = (*arguments, members)
    error = _instance(record, arguments)
    for name, blob in record["slots"].items():
        _set(error, name, _load(blob))
    for name, blob in record["state"].items():
        # cloudpickle turns `__slots__` of a class that it rebuilds into ordinary attributes; here they are slots again.
        if isinstance(getattr(type(error), name, None), types.MemberDescriptorType):
            _set(error, name, _load(blob))
        else:
            error.__dict__[name] = _load(blob)
    errors[index] = error
    return error


def _instance(record: Record, arguments: tuple[Any, ...]) -> BaseException:
    for position, blob in enumerate(record["class"]):
        if blob is None:
            continue
        try:
            cls = _rebuild.undump(blob, keep_known_classes=True)
            # The nearest base written in C knows how to make the object; a `__new__` in Python may want anything.
            maker = next(base for base in cls.__mro__ if not base.__flags__ & _HEAP_TYPE)
            error: BaseException = maker.__new__(cls, *arguments)
            if record["members"] is None:
                error.args = arguments
        except Exception:
            continue
        if position > 0:
            error.add_note(f"(this was a {record['name']}, a class that cannot be loaded here)")
        return error
    error = RuntimeError(*arguments)
    error.add_note(f"(this was a {record['name']}, a class that cannot be loaded here)")
    return error


_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: set for every class made by a `class` statement."""


def _load(blob: bytes) -> Any:
    try:
        return _rebuild.undump(blob, keep_known_classes=True)
    except Exception as error:
        return f"<a value that cannot be loaded here: {error!r}>"


def _set(error: BaseException, name: str, value: object) -> None:
    try:
        setattr(error, name, value)
    except (AttributeError, TypeError, ValueError):
        if not sys.is_finalizing() and hasattr(error, "__dict__"):
            error.__dict__.setdefault(name, value)

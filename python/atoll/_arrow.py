"""Data of Arrow libraries that pickle would copy in a stream of bytes, copy too much of, or not at all.

It goes by the PyCapsule protocol: what the capsules hold is copied once, natively (crates/ext/src/clone/arrow). In the
other interpreter its own class makes it of an object that offers the same capsules.
"""

from __future__ import annotations

from pickle import PickleBuffer

from . import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._clone import Reduction

_SPARED_BYTES = 64 * 1024
"""A slice whose whole buffers have so many bytes more than twice its own is worth cutting out."""


def reduce(value: Any) -> Reduction:
    """The reduction of an object with `__arrow_c_stream__` or `__arrow_c_array__`."""
    library = type(value).__module__.partition(".")[0]
    if library == "polars":
        # Its pickle is a stream of Arrow's. Pointers to Python objects would export as mere numbers.
        return _by_pickle(value) if _holds_objects(value) else _by_capsules(value) or _by_pickle(value)
    if library == "pyarrow":
        # Its pickle hands the buffers over, but a slice's buffers are those of the whole.
        return (_by_capsules(value) if _is_small_slice(value) else None) or _by_pickle(value)
    try:
        return _by_pickle(value)
    except TypeError:
        reduction = _by_capsules(value)
        if reduction is None:
            raise
        return reduction


def _by_pickle(value: Any) -> Reduction:
    reduction: Reduction = value.__reduce_ex__(5)
    return reduction


def _by_capsules(value: Any) -> Reduction | None:
    """None where a layout of its type is not known."""
    is_array = hasattr(value, "__arrow_c_array__")
    exported = _native.arrow_export(*(value.__arrow_c_array__() if is_array else (value.__arrow_c_stream__(),)))
    if exported is None:
        return None
    description, memory = exported
    return _rebuild, (type(value), _name_of(value), description, PickleBuffer(memory), is_array)


def _name_of(value: Any) -> str | None:
    return value.name if type(value).__module__ == "polars.series.series" else None


def _holds_objects(value: Any) -> bool:
    kinds = getattr(value, "dtypes", None) or [getattr(value, "dtype", None)]
    return any("Object" in repr(kind) for kind in kinds)


def _is_small_slice(value: Any) -> bool:
    if type(value).__module__ != "pyarrow.lib":
        return False
    return bool(value.get_total_buffer_size() > 2 * value.nbytes + _SPARED_BYTES)


def _rebuild(cls: Any, name: str | None, description: bytes, memory: _native.Memory, is_array: bool) -> Any:
    arrived = (_Array if is_array else _Stream)(description, memory)
    made = _maker(cls)(arrived)
    return made if name is None or made.name == name else made.alias(name)


def _maker(cls: Any) -> Any:
    if cls.__module__ != "pyarrow.lib":
        return getattr(cls, "from_arrow", cls)
    from importlib import import_module

    pyarrow = import_module("pyarrow")
    by_name = {"Table": pyarrow.table, "RecordBatch": pyarrow.record_batch, "ChunkedArray": pyarrow.chunked_array}
    return by_name.get(cls.__name__, pyarrow.array)


class _Arrived:
    """What another interpreter sent, for the library that is to take it over."""

    def __init__(self, description: bytes, memory: _native.Memory) -> None:
        self._parts = description, memory


class _Stream(_Arrived):
    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return _native.arrow_import(*self._parts, True)


class _Array(_Arrived):
    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        return _native.arrow_import(*self._parts, False)

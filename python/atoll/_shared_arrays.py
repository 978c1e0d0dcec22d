"""Large numpy arrays that many messages share: copied once into memory that every interpreter of the process reads.

While `sharing` is on in a thread, arrays that are cloned there, wherever in a message they sit, cross as a reference
to such memory. What arrives is an array over it that cannot be written to. The memory is freed with the last array
over it, in whichever interpreter that is.

# Invariants

- A1 A snapshot is made when an array is first met, and lives in its `Snapshots` as long as the array does, at most.
- A2 Nobody writes to a snapshot: `_native.Memory` that can be written to is never shared.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import PickleBuffer
from typing import Any

from . import _clone, _native

_SMALLEST = 64 * 1024
"""Bytes; smaller memory travels inside of a message."""

_PROTOCOL = 5
_thread = threading.local()


class Snapshots:
    """The arrays of *min_bytes* and more that were met so far, and the memory with what was in them."""

    def __init__(self, min_bytes: int) -> None:
        self._min_bytes = max(min_bytes, _SMALLEST)
        self._known: dict[int, tuple[weakref.ref[Any], Any]] = {}

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Share the arrays that this thread clones inside of the block."""
        _install()
        before = getattr(_thread, "snapshots", None)
        _thread.snapshots = self
        try:
            yield
        finally:
            _thread.snapshots = before

    def clear(self) -> None:
        """Forget the arrays; receivers keep theirs."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)

    def reduce(self, array: Any) -> Any:
        """How *array* crosses."""
        if array.nbytes < self._min_bytes or array.dtype.hasobject:
            return None
        if (known := self._known.get(id(array))) is not None and known[0]() is array:
            return known[1]
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        whole = array if array.flags.contiguous or order == "F" else array.copy()
        data = memoryview(whole.reshape(-1, order=order).view("u1"))
        memory = _native.clone(PickleBuffer(data.toreadonly()))
        reduction = _over_memory, (PickleBuffer(memory), array.dtype, array.shape, order)
        key, known_arrays = id(array), self._known
        known_arrays[key] = weakref.ref(array, lambda _: known_arrays.pop(key, None)), reduction
        return reduction


def _install() -> None:
    """Have the clone ask here about numpy's arrays."""
    if "numpy.ndarray" not in _clone._OWN:
        _clone._OWN["numpy.ndarray"] = _clone._OWN["numpy.memmap"] = _reduce
        _native.forget_plans()


def _reduce(array: Any) -> Any:
    snapshots: Snapshots | None = getattr(_thread, "snapshots", None)
    if snapshots is not None:
        reduction = _of_file(array) or snapshots.reduce(array)
        if reduction is not None:
            return reduction
    elif not array.flags.writeable and _is_over_memory(array):
        # On its way back: a result can be written to, as if it had never been shared.
        array = array.copy(order="K")
    return array.__reduce_ex__(_PROTOCOL)


def _is_over_memory(array: Any) -> bool:
    while (base := getattr(array, "base", None)) is not None:
        array = base
    return type(array) is _native.Memory or type(getattr(array, "obj", None)) is _native.Memory


def _over_memory(memory: Any, dtype: Any, shape: tuple[int, ...], order: Any) -> Any:
    """Rebuild an array over memory that it shares."""
    import numpy

    _install()  # what goes back from here
    return numpy.frombuffer(memory, dtype="u1").view(dtype).reshape(shape, order=order)


# Files -----------------------------------------------------------------------------------------------------------


def _of_file(array: Any) -> Any:
    """How an array crosses that lies over a file which is mapped: the receiver maps it as well."""
    import mmap

    import numpy

    above = array
    while not isinstance(base := getattr(above, "base", None), mmap.mmap):
        if base is None:
            return None
        above = base
    if not isinstance(above, numpy.memmap) or above.filename is None:
        return None
    from numpy.lib.array_utils import byte_bounds

    low, high = byte_bounds(array)
    offset = above.offset + low - byte_bounds(above)[0]
    first = array.__array_interface__["data"][0] - low
    mode = "r+" if above.mode == "w+" else above.mode
    place = (str(above.filename), mode, offset, high - low)
    return _over_file, (place, array.dtype, array.shape, array.strides, first)


def _over_file(place: tuple[str, Any, int, int], dtype: Any, shape: Any, strides: Any, first: int) -> Any:
    """Rebuild an array over a file that is mapped."""
    import numpy

    name, mode, offset, size = place
    whole = numpy.memmap(name, dtype="u1", mode=mode, offset=offset, shape=(size,))
    return numpy.ndarray(shape, dtype, buffer=whole, offset=first, strides=strides)

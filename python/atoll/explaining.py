"""What would become of an object if it were sent: a tree of its parts, their sizes, and what keeps it from going."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from . import _clone, _native
from ._errors import CloneError

__all__ = ["Explanation", "explain"]

type Way = Literal["copied", "shared", "by reference", "by value", "repeated", "refused"]

_LEAVES = (bool, int, float, complex, str, bytes, bytearray, range, type(None), type(...), type(NotImplemented))
_ENDS = (_native.Channel, _native.Sender, _native.Receiver)
_LINES_SHOWN = 20
_DEEPEST_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Explanation:
    """One object of a graph and what a clone does with it; `str()` draws the tree.

    `way` is one of: copied; shared (a channel's end, a type's `__atoll_share__`); by reference (a name to import); by
    value (its code travels); repeated (met before in this graph: only a mention of it travels); refused (`hint` says
    what to do instead).
    """

    path: str
    type_name: str
    way: Way
    size_bytes: int
    """What it takes in the message without its children; for the root `total_bytes` is the whole message."""
    total_bytes: int
    """The same with its children."""
    hint: str = ""
    children: tuple[Explanation, ...] = field(default=(), repr=False)

    @property
    def culprit(self) -> Explanation | None:
        """The first part that is refused, depth first; None where the whole can be sent."""
        return next((part for part in self.walk() if part.way == "refused"), None)

    def walk(self) -> Iterator[Explanation]:
        """This object and everything below it, depth first."""
        pending = [self]
        while pending:
            part = pending.pop()
            yield part
            pending += reversed(part.children)

    def __str__(self) -> str:
        return "\n".join(self._lines(0))

    def _lines(self, depth: int) -> Iterator[str]:
        hint = f"; {self.hint}" if self.hint else ""
        yield f"{'  ' * depth}{self.path}: {self.type_name}, {self.way}, {_written_size(self.total_bytes)}{hint}"
        if depth >= _DEEPEST_SHOWN and self.children:
            yield f"{'  ' * (depth + 1)}…"
            return
        shown = self.children[:_LINES_SHOWN]
        for child in shown:
            yield from child._lines(depth + 1)
        if rest := self.children[len(shown) :]:
            yield f"{'  ' * (depth + 1)}… and {len(rest)} more, {_written_size(sum(one.total_bytes for one in rest))}"
            for child in rest:
                if child.culprit is not None:
                    yield from child._lines(depth + 1)
                    break


def explain(value: object) -> Explanation:
    """Say what sending *value* would do: what is copied, shared, by reference or refused, and the bytes of each part.

    Nothing is sent. Never raises CloneError: what cannot cross is a part whose way is "refused". Runs the code by which
    objects take themselves apart (`__reduce_ex__`, `__getstate__`).

        print(atoll.explain(job))
        atoll.explain(job).culprit       # None, or the first part that keeps it from being sent
    """
    return _Explainer().explain(value)


class _Draft:
    """A part whose children are not all explained yet."""

    def __init__(self, path: str, value: object, way: Way, size_bytes: int, hint: str) -> None:
        self.path = path
        self.type_name = type(value).__name__
        self.way: Way = way
        self.size_bytes = size_bytes
        self.hint = hint
        self.parts: list[tuple[str, object]] = []
        self.done: list[Explanation] = []

    def finished(self) -> Explanation:
        total = self.size_bytes + sum(child.total_bytes for child in self.done)
        return Explanation(self.path, self.type_name, self.way, self.size_bytes, total, self.hint, tuple(self.done))


class _Explainer:
    def __init__(self) -> None:
        self._met: dict[int, object] = {}

    def explain(self, root: object) -> Explanation:
        open_drafts = [self._draft("value", root)]
        while True:
            draft = open_drafts[-1]
            if draft.parts:
                open_drafts.append(self._draft(*draft.parts.pop()))
                continue
            finished = open_drafts.pop().finished()
            if not open_drafts:
                return finished
            open_drafts[-1].done.append(finished)

    def _draft(self, path: str, value: object) -> _Draft:
        if type(value) in _LEAVES:
            return _Draft(path, value, "copied", _native.clone_size(value), "")
        if id(value) in self._met:
            return _Draft(path, value, "repeated", 3, "")
        self._met[id(value)] = value
        if isinstance(value, _ENDS):
            return self._whole(path, value, "shared")
        if isinstance(value, type):
            way: Way = "by reference" if _clone._class_name(value) is not None else "by value"
            return self._whole(path, value, way)
        try:
            parts, way = self._parts(path, value)
        except Exception:
            return self._whole(path, value, "copied")
        if parts is None:
            return self._whole(path, value, way)
        draft = _Draft(path, value, way, 2, "")
        draft.parts = parts[::-1]
        return draft

    def _whole(self, path: str, value: object, way: Way) -> _Draft:
        """A part that is not taken apart any further."""
        try:
            return _Draft(path, value, way, _native.clone_size(value), "")
        except CloneError as error:
            return _Draft(path, value, "refused", 0, error.hint)
        except Exception as error:
            return _Draft(path, value, "refused", 0, f"taking it apart raised {type(error).__name__}: {error}")

    def _parts(self, path: str, value: Any) -> tuple[list[tuple[str, object]] | None, Way]:
        """The parts of an object, by their paths, or None for one that has none to show."""
        kind = type(value)
        if kind in (list, tuple):
            return [(f"{path}[{index}]", item) for index, item in enumerate(value)], "copied"
        if kind in (set, frozenset):
            return [(f"{path}{{...}}", item) for item in value], "copied"
        if kind is dict:
            pairs = list(value.items())
            keys = [(f"{path}.keys()[{index}]", key) for index, (key, _) in enumerate(pairs)]
            values = [(f"{path}[{_short(key)}]", item) for key, item in pairs]
            return [part for both in zip(keys, values, strict=True) for part in both], "copied"
        if kind is slice:
            return [(f"{path}.{name}", getattr(value, name)) for name in ("start", "stop", "step")], "copied"
        how, _, _, has_dict, slots, reducer = _clone.plan(kind)
        if how == _clone.BUFFER:
            return None, "copied"
        if how == _clone.SHARE:
            return None, "shared"
        if how == _clone.PLAIN:
            attributes = dict(vars(value)) if has_dict else {}
            attributes |= {name: getattr(value, name) for name in slots if hasattr(value, name)}
            named = [(f"{path}.{name}", item) for name, item in attributes.items()]
            return [(f"{path}.__class__", kind), *named], "copied"
        reduction = reducer(value) if reducer is not None else value.__reduce_ex__(5)
        if isinstance(reduction, str):
            return None, "by reference"
        if reduction[0] is _clone.load_shipped:
            return None, "by value"
        return _reduced_parts(path, reduction), "copied"


def _reduced_parts(path: str, reduction: tuple[Any, ...]) -> list[tuple[str, object]]:
    call, arguments = reduction[:2]
    state, items, pairs = (*reduction[2:5], None, None, None)[:3]
    parts: list[tuple[str, object]] = []
    if call is _clone._new_object:
        call, arguments = arguments[0], arguments[1:]
    parts.append((f"{path}.__class__", call))
    parts += [(f"{path}.args[{index}]", item) for index, item in enumerate(arguments)]
    if type(state) is dict:
        parts += [(f"{path}.{name}", item) for name, item in state.items()]
    elif state is not None:
        parts.append((path, state))
    parts += [(f"{path}[{index}]", item) for index, item in enumerate(items or ())]
    for key, item in pairs or ():
        parts += [(f"{path}.keys()", key), (f"{path}[{_short(key)}]", item)]
    return parts


def _short(key: object) -> str:
    try:
        text = repr(key)
    except Exception:
        text = f"<{type(key).__name__}>"
    return text if len(text) <= 60 else f"{text[:59]}…"


def _written_size(size_bytes: int) -> str:
    if size_bytes < 10_000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1e3:.0f} kB" if size_bytes < 10_000_000 else f"{size_bytes / 1e6:.0f} MB"

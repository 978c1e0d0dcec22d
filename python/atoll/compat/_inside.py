"""What happens in an interpreter of `atoll.compat` on behalf of another one: run this source, call that function.

Only one of these runs at a time, as in the standard library; whoever comes second is told that the interpreter is busy.
Every function returns a reply, a tuple whose first word says how it went.
"""

from __future__ import annotations

import _interpreters
import marshal
import sys
import threading
import types
from _interpreters import NotShareableError
from collections.abc import Callable
from typing import Any

from .. import _native
from .._errors import Cancellation, CloneError
from . import _crossing, _registry

type Reply = tuple[Any, ...]

_busy = threading.Lock()


def begin(requests: _native.Channel[Any], deaths: _native.Channel[None]) -> None:
    """The first thing in a new interpreter: it learns where the book is kept."""
    _registry.connect(requests, deaths)


def leave() -> None:
    """The last thing in an interpreter that is closed: wait for its threads, as CPython does, where Atoll ends them."""
    atexits = getattr(threading, "_threading_atexits", [])
    while atexits:
        atexits.pop()()
    not_started_here = (type(threading.main_thread()), threading._DummyThread)
    for thread in threading.enumerate():
        if not thread.daemon and not isinstance(thread, not_started_here):
            thread.join()


def bind(items: dict[str, _crossing.Item]) -> Reply:
    """Bind names in `__main__`."""
    if not _busy.acquire(blocking=False):
        return ("busy",)
    try:
        _main_names().update({name: _crossing.decode(item) for name, item in items.items()})
    finally:
        _busy.release()
    return "ok", None


def execute(source: str | bytes) -> Reply:
    """Run source text, or marshalled code, in `__main__`."""

    def run() -> None:
        code = marshal.loads(source) if isinstance(source, bytes) else compile(source, "<string>", "exec")
        exec(code, _main_names())

    return _guarded(run, keeps_exception=False)


def call(
    fn: _crossing.Item, args: list[_crossing.Item], kwargs: dict[str, _crossing.Item], keeps_exception: bool
) -> Reply:
    """Call a function; *keeps_exception* wants the exception itself, pickled, besides its description."""
    try:
        function = _crossing.decode(fn)
        arguments = [_crossing.decode(item) for item in args]
        named = {name: _crossing.decode(item) for name, item in kwargs.items()}
    except NotShareableError as error:
        return "unshareable", "args not shareable", f"{error}: {error.__cause__!r}"
    return _guarded(lambda: _invoke(function, arguments, named), keeps_exception=keeps_exception)


def _guarded(run: Callable[[], Any], *, keeps_exception: bool) -> Reply:
    if not _busy.acquire(blocking=False):
        return ("busy",)
    try:
        value = run()
    except Cancellation:
        raise
    except BaseException as error:
        return _failure(error, keeps_exception)
    finally:
        _busy.release()
    try:
        return "ok", sendable(value)
    except NotShareableError as error:
        return "unshareable", "result not shareable", f"{error}: {error.__cause__!r}"


def sendable(value: Any) -> _crossing.Item:
    """`encode`, for what must not be refused later."""
    item = _crossing.encode(value)
    if item[0] == _crossing.PLAIN and type(value) not in _crossing.ATOMS:
        try:
            _native.clone(value)
        except CloneError:
            item = _crossing.encode(value, plainly=False)
    return item


def _invoke(function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call it; the builtins that look at their caller's names look at those of `__main__`."""
    if not kwargs:
        if len(args) == 1 and function in (eval, exec):
            return function(args[0], _main_names())
        if not args and function is dir:
            return sorted(_main_names())
        if not args and function in (globals, locals, vars):
            return _main_names()
    return function(*args, **kwargs)


def _failure(error: BaseException, keeps_exception: bool) -> Reply:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    error.__traceback__ = trace
    captured = _interpreters.capture_exception(error)
    description = {**vars(captured), "type": vars(captured.type)}
    item = None
    if keeps_exception:
        try:
            item = _crossing.encode(error, plainly=False)
        except NotShareableError:
            import traceback

            print("exception is not shareable:", file=sys.stderr)
            traceback.print_exception(error)
    _release_frames(error)
    return "failed", description, item


def _release_frames(error: BaseException) -> None:
    """Queues among the locals of dead frames are let go of before the caller hears of the failure."""
    trace = error.__traceback__
    while trace is not None:
        try:
            trace.tb_frame.clear()
        except RuntimeError:
            pass
        trace = trace.tb_next
    error.__traceback__ = None


def _main_names() -> dict[str, Any]:
    main: types.ModuleType = sys.modules["__main__"]
    return vars(main)

"""`concurrent.interpreters` of Python 3.14, on Atoll: change the import, nothing else.

    from atoll.compat import interpreters

Interpreters made here are hosts of Atoll: `atoll.list_hosts()` shows them, Ctrl-C interrupts what waits for them, and
they are closed at exit. Nothing here polls. What differs from the standard library is listed in docs/guide/compat.md.
"""

from __future__ import annotations

import _interpreters
import marshal
import threading
import types
import weakref
from _interpreters import InterpreterError, InterpreterNotFoundError, NotShareableError
from collections.abc import Callable, Mapping
from typing import Any, Self

from .. import _exit, _native
from .._errors import AtollError, CloneError
from . import _crossing, _crossinterp, _queues, _registry  # noqa: F401 - as the standard library has them
from ._queues import Queue, QueueEmpty, QueueFull
from ._queues import create as create_queue
from .channels import RecvChannel, SendChannel
from .channels import create as create_channel
from .channels import list_all as list_all_channels

__all__ = [
    "ExecutionFailed",
    "Interpreter",
    "InterpreterError",
    "InterpreterNotFoundError",
    "NotShareableError",
    "Queue",
    "QueueEmpty",
    "QueueFull",
    "RecvChannel",
    "SendChannel",
    "create",
    "create_channel",
    "create_queue",
    "get_current",
    "get_main",
    "is_shareable",
    "list_all",
    "list_all_channels",
]

_EXEC_FAILURE_STR = """
{superstr}

Uncaught in the interpreter:

{formatted}
""".strip()

_here = _registry.here
_OWN = "_interpreters module"
_MAIN = "runtime init"
_FOREIGN = "C-API"
_ISOLATE = "unknown"


class ExecutionFailed(InterpreterError):
    """An unhandled exception happened during execution.

    This is raised from Interpreter.exec() and Interpreter.call().
    """

    def __init__(self, excinfo: types.SimpleNamespace) -> None:
        msg = excinfo.formatted
        if not msg:
            if excinfo.type and excinfo.msg:
                msg = f"{excinfo.type.__name__}: {excinfo.msg}"
            else:
                msg = excinfo.type.__name__ or excinfo.msg
        super().__init__(msg)
        self.excinfo = excinfo

    def __str__(self) -> str:
        try:
            formatted = self.excinfo.errdisplay
        except Exception:
            return super().__str__()
        else:
            return _EXEC_FAILURE_STR.format(superstr=super().__str__(), formatted=formatted)


def is_shareable(obj: object, /) -> bool:
    """Return whether the object crosses between interpreters without being pickled."""
    if isinstance(obj, (Queue, RecvChannel, SendChannel)):
        return True
    if type(obj) is tuple:
        return all(is_shareable(part) for part in obj)
    return bool(_interpreters.is_shareable(obj))


def create() -> Interpreter:
    """Return a new (idle) Python interpreter."""
    connection = _registry.connection()
    try:
        host = _native.launch("interpreter", _registry.HOST_NAME, None, None)
    except AtollError as error:
        raise InterpreterError(str(error)) from error
    try:
        _registry.run_in(host, "begin", *connection)
        return Interpreter._of(host, _OWN)
    except BaseException:
        _native.close_host(host, 0.0)
        raise


def list_all() -> list[Interpreter]:
    """Return all existing interpreters."""
    interps = []
    for host, whence in _hosts().items():
        try:
            interps.append(Interpreter._of(host, whence))
        except InterpreterNotFoundError:
            # It was destroyed after it was listed.
            pass
    return interps


def get_current() -> Interpreter:
    """Return the currently running interpreter."""
    return Interpreter(_here() - 1)


def get_main() -> Interpreter:
    """Return the main interpreter."""
    return Interpreter(_exit.MAIN_HOST - 1)


_known: weakref.WeakValueDictionary[int, Interpreter] = weakref.WeakValueDictionary()


class Interpreter:
    """A single Python interpreter.

    Attributes:

    "id" - the unique process-global ID number for the interpreter
    "whence" - indicates where the interpreter was created

    If the interpreter wasn't created by this module
    then any method that modifies the interpreter will fail,
    i.e. .close(), .prepare_main(), .exec(), and .call()
    """

    __slots__ = ("__weakref__", "_holds", "_id", "_whence")

    _id: int
    _whence: str
    _holds: bool

    def __new__(cls, id: int, /) -> Self:  # noqa: A002 - as the standard library calls it
        # There is only one instance for any given ID.
        if not isinstance(id, int):
            raise TypeError(f"id must be an int, got {id!r}")
        if id < 0:
            raise ValueError(f"interpreter ID must be a non-negative int, got {id!r}")
        known = _known.get(id)
        if known is not None:
            return known  # type: ignore[return-value]
        whence = _hosts().get(id + 1)
        if whence is None:
            raise InterpreterNotFoundError(f"unrecognized interpreter ID {id}")
        return cls._of(int(id) + 1, whence)

    @classmethod
    def _of(cls, host: int, whence: str) -> Self:
        """The object for a host that is there. One of this module lives as long as others hold it."""
        known = _known.get(host - 1)
        if known is not None:
            return known  # type: ignore[return-value]
        self = super().__new__(cls)
        self._id = host - 1
        self._whence = whence
        self._holds = False
        if whence == _OWN and host != _here():
            _registry.ask("adopt", _here(), host)
            self._holds = True
        return _known.setdefault(self._id, self)  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"

    def __hash__(self) -> int:
        return hash(self._id)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __del__(self, _tell: Callable[..., None] = _registry.tell, _here: Callable[[], int] = _registry.here) -> None:
        # What this needs must not be looked up in a module that may be gone already.
        if getattr(self, "_holds", False):
            self._holds = False
            _tell("abandon", _here(), self._id + 1)

    # for pickling:
    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return (type(self), (self._id,))

    @property
    def id(self) -> int:
        """The number of the interpreter: that of Atoll's host, less one, so that the main interpreter has 0."""
        return self._id

    @property
    def whence(self) -> str:
        """Where the interpreter was created, in the words of the standard library."""
        return self._whence

    def is_running(self) -> bool:
        """Return whether or not the identified interpreter is running."""
        self._check_exists()
        return self._whence == _MAIN or _native.host_running(self._id + 1)

    # Everything past here is available only to interpreters created by
    # interpreters.create().

    def close(self) -> None:
        """Finalize and destroy the interpreter.

        Attempting to destroy the current interpreter results
        in an InterpreterError.
        """
        self._check_exists()
        if self._id + 1 == _here():
            raise InterpreterError("cannot destroy the current interpreter")
        self._check_own()
        _registry.ask("end", self._id + 1)
        self._holds = False

    def prepare_main(self, ns: Any = None, /, **kwargs: Any) -> None:
        """Bind the given values into the interpreter's __main__.

        The values must be shareable.
        """
        names: Mapping[str, Any] = dict(ns, **kwargs) if ns is not None else kwargs
        self._check_own()
        if not names:
            raise ValueError("arg 2 must be a non-empty mapping")
        for name, value in names.items():
            if not is_shareable(value):
                raise NotShareableError(f"{name!r}: {value!r} does not support cross-interpreter data")
        self._do("bind", {name: _crossing.encode(value) for name, value in names.items()})

    def exec(self, code: str | types.CodeType | Callable[[], object], /) -> None:
        """Run the given source code in the interpreter.

        This is essentially the same as calling the builtin "exec"
        with this interpreter, using the __dict__ of its __main__
        module as both globals and locals.

        There is no return value.

        If the code raises an unhandled exception then an ExecutionFailed
        exception is raised, which summarizes the unhandled exception.
        The actual exception is discarded because objects cannot be
        shared between interpreters.

        This blocks the current Python thread until done.  During
        that time, the previous interpreter is allowed to run
        in other threads.
        """
        _, excinfo, _ = self._do("execute", _script(code))
        if excinfo is not None:
            raise ExecutionFailed(excinfo)

    def _call(self, callable: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: A002
        res, excinfo, _ = self._call_and_keep(callable, args, kwargs, False)
        if excinfo is not None:
            raise ExecutionFailed(excinfo)
        return res

    def call[T](self, callable: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:  # noqa: A002
        """Call the object in the interpreter with given args/kwargs.

        Nearly all callables, args, kwargs, and return values are
        supported.  All "shareable" objects are supported, as are
        "stateless" functions (meaning non-closures that do not use
        any globals).  This method will fall back to pickle.

        If the callable raises an exception then the error display
        (including full traceback) is sent back between the interpreters
        and an ExecutionFailed exception is raised, much like what
        happens with Interpreter.exec().
        """
        result: T = self._call(callable, args, kwargs)
        return result

    def call_in_thread(self, callable: Callable[..., Any], /, *args: Any, **kwargs: Any) -> threading.Thread:  # noqa: A002
        """Return a new thread that calls the object in the interpreter.

        The return value and any raised exception are discarded.
        """
        t = threading.Thread(target=self._call, args=(callable, args, kwargs))
        t.start()
        return t

    def _call_and_keep(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], keeps_exception: bool
    ) -> tuple[Any, types.SimpleNamespace | None, BaseException | None]:
        """The result, or else what there is to say of the exception, and the exception if it could cross."""

        def pack(plainly: bool) -> tuple[Any, ...]:
            return (
                _crossing.encode(fn, plainly=plainly),
                [_crossing.encode(value, plainly=plainly) for value in args],
                {name: _crossing.encode(value, plainly=plainly) for name, value in kwargs.items()},
                keeps_exception,
            )

        try:
            return self._do("call", *pack(True))
        except CloneError:
            return self._do("call", *pack(False))

    def _do(self, what: str, *args: Any) -> tuple[Any, Any, Any]:
        """Have something done in the interpreter and translate the reply."""
        self._check_exists()
        self._check_own()
        try:
            how, *answer = _registry.run_in(self._id + 1, what, *args)
        except CloneError:
            raise
        except AtollError as error:
            self._check_exists()
            raise InterpreterError(str(error)) from error
        if how == "ok":
            return (None if answer[0] is None else _crossing.decode(answer[0])), None, None
        if how == "busy":
            raise InterpreterError("interpreter already running")
        if how == "unshareable":
            raise NotShareableError(answer[0]) from NotShareableError(answer[1])
        description, item = answer
        excinfo = types.SimpleNamespace(**{**description, "type": types.SimpleNamespace(**description["type"])})
        return None, excinfo, None if item is None else _crossing.decode(item)

    def _check_exists(self) -> None:
        if self._whence != _MAIN and self._id + 1 not in _hosts():
            raise InterpreterNotFoundError(f"unrecognized interpreter ID {self._id}")

    def _check_own(self) -> None:
        if self._whence != _OWN:
            raise InterpreterError(f"unrecognized interpreter {self._id} (it was not created by this module)")


def _hosts() -> dict[int, str]:
    """The interpreters of this process that Atoll knows, by host, and whence they came."""
    found = {}
    for host, kind, name, state, _, _ in sorted(_native.hosts()):
        if kind == "main":
            found[host] = _MAIN
        elif kind == "interpreter" and state == "ready":
            found[host] = _OWN if name == _registry.HOST_NAME else _FOREIGN
        elif kind == "isolate" and state == "ready":
            found[host] = _ISOLATE
    return found


def _script(code: str | types.CodeType | Callable[[], object]) -> str | bytes:
    """What `exec` was given, ready to cross."""
    if isinstance(code, str):
        return code
    if isinstance(code, types.FunctionType):
        if code.__closure__ or code.__code__.co_argcount or code.__code__.co_kwonlyargcount:
            raise ValueError(f"cannot exec {code!r} (it has arguments or a closure); use call()")
        code = code.__code__
    if isinstance(code, types.CodeType):
        return marshal.dumps(code)
    raise TypeError(f"exec() argument 1 must be str, code or a function, not {type(code).__name__}")

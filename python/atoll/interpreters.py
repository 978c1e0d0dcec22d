"""Interpreters of one's own, and what this machine can host: `Interpreter`, `list_hosts`, `capabilities`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Self

from . import _environment, _libpython, _native, _shipping
from ._errors import HostUnavailable
from .tasks import Task, wait_or_cancel

__all__ = ["Interpreter", "capabilities", "list_hosts"]

CLOSE_TIMEOUT = 5.0
"""Seconds `Interpreter.close` gives running code to end, unless told otherwise."""


class Interpreter:
    """An interpreter in this process with its own modules, globals and GIL, for as long as you keep it open.

    *kind* is `interpreter` (a sub-interpreter of CPython: many extension modules refuse to be imported there),
    `isolate` (a Python of its own: every extension module works; few fit into a process, and they are used again), or
    `auto`: an isolate where one is to be had, else a sub-interpreter, which the log `atoll` says once.

    It sees the caller's `sys.path`, or *path* if that is given (and after it the standard library and Atoll). With
    *venv*, a folder, an isolate sees that virtual environment; with *python*, an executable, it is that other CPython;
    then *path* comes before what they find by themselves, and functions that are not importable there travel by value
    only between Pythons of one version.

    Blocks until it is ready (milliseconds). Close it, or use it as a context manager. Raises HostUnavailable if *kind*
    cannot be had here, TypeError, ValueError or FileNotFoundError for bad arguments.

        with atoll.Interpreter() as host:
            host.exec("import math")
            host.call(math.sqrt, 2.0)
    """

    __slots__ = ("__weakref__", "_closed", "_id", "_is_elsewhere", "_kind", "_name", "_own_path", "_version")

    def __init__(
        self,
        kind: str = "auto",
        *,
        name: str | None = None,
        path: Iterable[str | os.PathLike[str]] | None = None,
        venv: str | os.PathLike[str] | None = None,
        python: str | os.PathLike[str] | None = None,
    ) -> None:
        self._closed = True  # until there is something to close
        if not isinstance(kind, str):
            raise TypeError(f"cannot open an interpreter of kind {kind!r} (not a str); use kind='auto'")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"cannot name an interpreter {name!r} (a {type(name).__name__}); pass a str")
        self._is_elsewhere = _check_elsewhere(kind, venv, python)
        self._own_path = path is not None or self._is_elsewhere
        self._version = _libpython.VERSION
        if self._is_elsewhere:
            own = None if path is None else _folders(path)
            if venv is not None:
                environment = _environment.of_venv(venv, own)
            else:
                assert python is not None
                environment = _environment.of_python(python, own)
            _environment.check_room()
            self._version = environment.version
            self._kind, self._id = "isolate", _launch_isolate(name, environment)
        else:
            self._kind, self._id = _launch(kind, name, _entries(path))
        self._name = name if name is not None else f"{self._kind}-{self._id}"
        self._closed = False

    @property
    def id(self) -> int:
        """The host's number, unique in this process."""
        return self._id

    @property
    def kind(self) -> str:
        """What it is made of: `interpreter` or `isolate`."""
        return self._kind

    @property
    def name(self) -> str:
        """The given name, else `interpreter-<id>` or `isolate-<id>`."""
        return self._name

    def exec(self, source: str, /) -> None:
        """Run *source* in the `__main__` of the interpreter; names it defines stay there.

        Blocks until it has run; Ctrl-C cancels it. Raises what *source* raises, as its own type with the remote
        traceback as its cause, SyntaxError if it does not compile, AtollError once the interpreter is closed.

            host.exec("x = 6 * 7")
        """
        if not isinstance(source, str):
            raise TypeError(f"cannot exec a {type(source).__name__}; pass source text, or use call() for a function")
        self._do("exec", source, (), (), {}, None)

    def call[T](self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Run `fn(*args, **kwargs)` in the interpreter and return its result.

        Blocks until the call has ended; Ctrl-C cancels it. Calls from several threads run as threads there. Raises
        what the call raises, CloneError if something cannot cross, AtollError once the interpreter is closed.

            host.call(math.factorial, 20)
        """
        how, target, ends, region = _shipping.pack(fn, () if self._own_path else _shipping.new_path())
        if how == "value" and self._version != _libpython.VERSION:
            raise _shipping.refusal(fn, self._version)
        result: T = self._do(how, target, ends, args, kwargs, region)
        return result

    def prepare_main(self, mapping: Mapping[str, Any] | None = None, /, **names: Any) -> None:
        """Bind names in the `__main__` of the interpreter, for `exec` to use.

        Blocks until it is done. Raises CloneError if a value cannot cross, TypeError if a name is no str.

            host.prepare_main({"jobs": jobs.receiver}, factor=3)
        """
        values = {**(mapping or {}), **names}
        for name in values:
            if not isinstance(name, str):
                raise TypeError(f"cannot bind {name!r} in __main__ (a {type(name).__name__}); names are str")
        self._do("prepare", None, (), (), values, None)

    def is_running(self) -> bool:
        """Whether code of anyone runs in the interpreter right now. Never blocks.

        host.is_running()
        """
        return not self._closed and _native.host_running(self._id)

    def close(self, timeout: float | None = CLOSE_TIMEOUT) -> None:
        """End the interpreter: cancel what runs in it, wait for that, release its channel ends. Idempotent.

        An isolate's threads are told to end, what the caller's code registered with `atexit` runs, its modules and
        `__main__` go; installed packages stay loaded for the next one. Blocks up to *timeout* seconds (None: for
        ever). Raises TimeoutError if something in it does not return from C code in time; the interpreter then takes
        no new work and ends when that code returns.

            host.close()
        """
        if self._closed:
            return
        if not _native.close_host(self._id, timeout):
            raise TimeoutError(
                f"cannot close interpreter {self._name!r} within {timeout} s (code in it does not return from C); "
                "wait longer, or leave it: it ends when that code returns"
            )
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self.is_running() else "idle"
        return f"<atoll.Interpreter {self._id} {self._name!r} {self._kind} {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Interpreter stays in the interpreter that opened it; open another one there")

    def __del__(self) -> None:
        if getattr(self, "_closed", True) or sys.is_finalizing():
            return
        warnings.warn(f"unclosed {self!r}; close it or use it in a with statement", ResourceWarning, 2, source=self)
        _native.close_host(self._id, 0.0)
        self._closed = True

    def _do(
        self,
        how: str,
        target: Any,
        ends: tuple[Any, ...],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        region: _native.Region | None,
    ) -> Any:
        handle = _native.submit(self._id, self._kind, (how, target, ends, args, kwargs), region, None)
        return wait_or_cancel(Task._of(handle))


def _check_elsewhere(kind: str, venv: object, python: object) -> bool:
    """Whether another environment than the caller's is wanted."""
    if venv is None and python is None:
        return False
    if venv is not None and python is not None:
        raise ValueError("cannot open an isolate with both venv and python; pass the venv that was made with it")
    for argument, value in (("venv", venv), ("python", python)):
        if value is not None and not isinstance(value, (str, os.PathLike)):
            raise TypeError(f"cannot open an isolate with {argument}={value!r} (a {type(value).__name__}); pass a path")
    if kind not in ("auto", "isolate"):
        argument = "venv" if venv is not None else "python"
        raise ValueError(
            f"cannot open a host of kind={kind!r} with {argument} (only isolates have another environment than the "
            "caller); use kind='isolate'"
        )
    return True


def _launch(kind: str, name: str | None, path: list[str] | None) -> tuple[str, int]:
    """Start a host in the caller's environment: what it became, and its id."""
    if kind not in ("auto", "isolate"):
        return kind, _native.launch(kind, name, path, None)
    try:
        _environment.check_room()
        return "isolate", _launch_isolate(name, _environment.here(path))
    except HostUnavailable as error:
        if kind == "isolate":
            raise
        host_id = _native.launch("interpreter", name, path, None)
        _environment.say_auto_falls_back(error)
        return "interpreter", host_id


def _launch_isolate(name: str | None, environment: _environment.Environment) -> int:
    return _native.launch("isolate", name, None, environment.pack())


def _entries(path: Iterable[str | os.PathLike[str]] | None) -> list[str] | None:
    """What `sys.path` is to be, if not the caller's."""
    if path is None:
        return None
    own = _folders(path)
    return own + [entry for entry in _indispensable() if entry not in own]


def _folders(path: Iterable[str | os.PathLike[str]]) -> list[str]:
    if isinstance(path, (str, bytes)):
        raise TypeError(f"cannot use path={path!r} (one {type(path).__name__}); pass a list of folders")
    return [os.fsdecode(entry) for entry in path]


def _indispensable() -> list[str]:
    """Where the standard library is, and this package."""
    library = os.path.dirname(os.__file__)
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    standard = [entry for entry in sys.path if entry == library or os.path.basename(entry) in (archive, "lib-dynload")]
    return [*standard, os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]


# What is there ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class HostInfo:
    """One host as it was at the moment of the question."""

    id: int
    kind: str
    name: str
    state: str
    running: int
    """Tasks that run in it."""
    threads: int
    """Threads it has for tasks, idle ones included."""


def list_hosts() -> list[HostInfo]:
    """Every host of this process, oldest first: the main interpreter, the workers, interpreters opened by hand.

    Never blocks. The list is a snapshot.

        [host.name for host in atoll.list_hosts()]
    """
    return sorted(HostInfo(*host) for host in _native.hosts())


@dataclass(frozen=True, slots=True)
class Capability:
    """Whether one kind of host can be had here; if not, why not and what to do."""

    kind: str
    available: bool
    reason: str
    """Why it is available or not, in one clause."""
    remedy: str
    """What to do if it is not; empty if it is."""


@dataclass(frozen=True, slots=True)
class Isolates:
    """How many isolates this process may have and has. Those that are parked wait to be used again."""

    fit: int
    open: int
    parked: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this machine and this Python can host."""

    python: str
    gil: bool
    """Whether this interpreter runs with a GIL. Sub-interpreters of a GIL build have one each."""
    cores: int
    """Cores this process may use."""
    platform: str
    """The operating system and the machine: `linux x86_64`."""
    c_library: str
    """Its name and version: `glibc 2.36`; empty if it does not say."""
    libpython: str
    """The shared library of this Python, which isolates are copies of; empty if there is none."""
    isolates: Isolates
    kinds: tuple[Capability, ...]

    def __getitem__(self, kind: str) -> Capability:
        """The Capability of one kind: `capabilities()["isolate"]`. Raises KeyError for an unknown kind."""
        for capability in self.kinds:
            if capability.kind == kind:
                return capability
        raise KeyError(kind)

    def __iter__(self) -> Iterator[Capability]:
        return iter(self.kinds)


_PARENT = os.getpid()
_LATER = "not in this release"


def capabilities() -> Capabilities:
    """What this machine can host, kind by kind, and why not. Never blocks.

    atoll.capabilities()["isolate"].available      # True on Linux with glibc and a shared libpython
    """
    forked = os.getpid() != _PARENT
    interpreter = Capability(
        "interpreter",
        not forked,
        "a forked child has no workers" if forked else "a CPython sub-interpreter with its own GIL (PEP 684)",
        "start the child with subprocess, or use Atoll in the parent only" if forked else "",
    )
    libpython, isolate = _isolate_capability(forked)
    room = _environment.room()
    return Capabilities(
        python=sys.version.split()[0],
        gil=sys._is_gil_enabled(),
        cores=_environment.cores(),
        platform=f"{sys.platform} {os.uname().machine}",
        c_library=_c_library(),
        libpython=libpython,
        isolates=Isolates(room.limit, room.opened - room.parked, room.parked),
        kinds=(
            interpreter,
            isolate,
            Capability("process", False, _LATER, "use kind='interpreter', or concurrent.futures.ProcessPoolExecutor"),
            Capability("thread", False, _LATER, "use kind='interpreter', or threading.Thread"),
        ),
    )


def _isolate_capability(forked: bool) -> tuple[str, Capability]:
    """The shared library that there is, and what can be made of it."""
    try:
        libpython = _libpython.own_library()
    except HostUnavailable as error:
        libpython, lack = "", str(error)
    room = _environment.room()

    def lacking(reason: str, remedy: str) -> tuple[str, Capability]:
        return libpython, Capability("isolate", False, reason, remedy)

    if forked:
        return lacking("a forked child has no workers", "start the child with subprocess, or use Atoll in the parent")
    if room.reason:
        return lacking(room.reason, "use kind='interpreter' with packages that allow sub-interpreters")
    if not libpython:
        return lacking(*_parts(lack))
    if room.is_full:
        return lacking(
            f"all {room.limit} that fit into this process are in use", f"close one, or {_environment.MORE_ROOM}"
        )
    reason = f"a private copy of {libpython} in a linker namespace of its own; {room.limit} fit into this process"
    if room.limit < min(_environment.cores(), _environment.MOST):
        reason += f", fewer than it has cores: to have more, {_environment.MORE_ROOM}"
    return libpython, Capability("isolate", True, reason, "")


def _parts(message: str) -> tuple[str, str]:
    """Reason and remedy of an error's text (cannot <verb> <object> (<why>); <what to do instead>)."""
    what, _, remedy = message.rpartition("); ")
    return what.partition(" (")[2], remedy


def _c_library() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ""

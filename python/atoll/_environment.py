"""The environment that an isolate is to have: found here, packed for the native side, set up inside by `_isolate`.

An isolate is a Python of its own, started without a command line: everything that the `python` program would find out
is told to it. `here` describes the caller's environment, `of_venv` and `of_python` others. What is fixed when a Python
starts makes up the *key*: a parked isolate with an equal key can be used again. Everything else travels in the *setup*,
which each session applies anew.
"""

from __future__ import annotations

import _warnings
import marshal
import os
import sys
from typing import NamedTuple

from . import _native
from ._errors import HostUnavailable
from ._libpython import VERSION, Facts, find_library, own_library, without_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    type Folder = str | os.PathLike[str]

THREADS_VARIABLE = "ATOLL_ISOLATE_THREADS"
"""The knob: how many threads the numeric libraries of an isolate start. 0 leaves that to them."""

THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
"""What the pools of numeric libraries ask for their size."""

_ONLY_ONE_PER_PROCESS = frozenset({"faulthandler", "perf", "perf_jit", "presite"})
"""`-X` options that take hold of the process, which is the main interpreter's."""

_CALLERS_PYTHON = frozenset({"PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__"})
"""Variables that say where the caller's Python finds its modules: wrong for any other."""

_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""Where `import atoll` finds this package."""

_FORMAT = 4
"""The version of `marshal`'s format that every Python from 3.13 on reads."""

MOST = 15
"""Isolates that a process can have at most: glibc has 16 namespaces, and one is the program's."""


class Environment:
    """What an isolate needs to know to start, and each of its sessions to begin."""

    __slots__ = ("config", "environ", "key", "libpython", "native", "setup", "version")

    def __init__(
        self,
        *,
        libpython: str,
        native: str,
        version: str,
        key: str,
        config: Iterable[str],
        environ: Mapping[str, str],
        setup: Mapping[str, Any],
    ) -> None:
        self.libpython = libpython
        self.native = native
        self.version = version
        self.key = key
        self.config = tuple(config)
        """PyConfig's items: `i:NAME=INT`, `s:NAME=TEXT`, and `l:NAME=TEXT` for each item of a list."""
        self.environ = environ
        """What `getenv` finds while Python starts; the sessions' `os.environ` is in the setup."""
        self.setup = setup

    def pack(self) -> bytes:
        """The description as the native side reads it: items separated by NUL, the first byte of each is its tag.

        The setup is in `marshal`'s format, as hexadecimal digits: what reads it is built into every Python.

            _native.launch("isolate", None, None, here().pack())
        """
        items = [b"l" + os.fsencode(self.libpython), b"n" + os.fsencode(self.native), b"p" + self.version.encode()]
        items.append(b"k" + os.fsencode(self.key))
        # Nothing that a program starts with can hold a NUL; a `sys.argv` that was made up may, and is in the setup too.
        items += (b"c" + os.fsencode(item) for item in self.config if "\0" not in item)
        items += (b"v" + os.fsencode(f"{name}={value}") for name, value in self.environ.items())
        items.append(b"s" + marshal.dumps(dict(self.setup), _FORMAT).hex().encode())
        return b"\0".join(items)


# Whose environment -----------------------------------------------------------------------------------------------


def here(path: Iterable[str] | None = None) -> Environment:
    """The caller's own environment, with *path* instead of its `sys.path` if given.

    Cheap after the first call: what cannot change is remembered. Raises HostUnavailable if the running Python has no
    shared library here, ValueError for a bad setting of ATOLL_ISOLATE_THREADS.

        here().pack()
    """
    libpython = own_library()
    path = _texts(sys.path if path is None else path)
    config = _own_config()
    return _environment(
        libpython=libpython,
        native=_own_native(),
        version=VERSION,
        config=config,
        argv=_texts(getattr(sys, "argv", ())),
        environ=os.environ,
        path=path,
        front=(),
        offers={},
    )


def of_venv(venv: Folder, path: Iterable[str] | None = None) -> Environment:
    """The environment of the virtual environment in the folder *venv*; its modules are found after *path*.

    A venv of the Python that runs here costs a look at two files; one of another Python is asked, as in `of_python`.
    Raises FileNotFoundError if there is no such folder, ValueError if it is no virtual environment, HostUnavailable
    if its Python cannot be loaded here.

        of_venv("~/envs/old-numpy")
    """
    folder = os.path.abspath(os.path.expanduser(os.fspath(venv)))
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"cannot open an isolate on venv={folder!r} (there is no such folder); make it with `python -m venv`"
        )
    if not os.path.isfile(os.path.join(folder, "pyvenv.cfg")):
        raise ValueError(
            f"cannot open an isolate on venv={folder!r} (it has no pyvenv.cfg, so it is no virtual environment); "
            "pass the folder that `python -m venv` made, or another Python's executable as python="
        )
    executable = os.path.join(folder, "bin", "python")
    if not os.path.exists(executable):
        raise ValueError(
            f"cannot open an isolate on venv={folder!r} (its bin/python is missing or a dangling link); make it again"
        )
    if os.path.realpath(executable) != os.path.realpath(_base_executable()):
        return of_python(executable, path)
    return _environment(
        libpython=own_library(),
        native=_own_native(),
        version=VERSION,
        config=_config_for(executable),
        argv=_texts(getattr(sys, "argv", ())),
        environ=os.environ,
        path=None,
        front=_texts(path or ()),
        offers=_offers(),
        key=_stamp(os.path.join(folder, "pyvenv.cfg")),
    )


def of_python(python: Folder, path: Iterable[str] | None = None) -> Environment:
    """The environment of another CPython, given its executable; its modules are found after *path*.

    Starts it once to ask it, as long as it does not change. Raises FileNotFoundError or ValueError if *python* cannot
    be run, HostUnavailable if it cannot be loaded into this process.

        of_python("/usr/bin/python3.14")
    """
    from . import _probe

    facts = _probe.ask(python)
    libpython, looked = find_library(facts)
    if libpython is None:
        raise HostUnavailable(without_library(facts, looked))
    native, offers = _glue_for(facts)
    return _environment(
        libpython=libpython,
        native=native,
        version=facts["version"],
        config=_config_for(facts["executable"]),
        argv=_texts(getattr(sys, "argv", ())),
        environ=os.environ,
        path=None,
        front=_texts(path or ()),
        offers=offers,
        key=facts["stamp"],
    )


class Room(NamedTuple):
    """How many isolates this process has, and may have."""

    limit: int
    opened: int
    """So far; an isolate is never given back."""
    parked: int
    """Of these, those that wait for their next session."""
    reason: str
    """Why there can be none on this machine; empty if there can."""

    @property
    def is_full(self) -> bool:
        """Whether none is to be had before one is closed."""
        return self.opened >= self.limit and not self.parked


def room() -> Room:
    """How many isolates there are and may be. Starts nothing."""
    return Room(*_native.isolate_room())


_said_what_auto_does = False
_auto_has_isolates = False


def for_crew(kind: str) -> bytes | None:
    """What the next host of the crew of this *kind* is made from: a packed Environment, or None for an interpreter.

    None is for `auto` only, while it has no isolate yet and none can be had; a crew does not mix the two, as what a
    task may import would depend on where it lands. Says once, in the log `atoll`, if `auto` gets less than it wants.
    The native side calls it. Raises HostUnavailable.
    """
    global _auto_has_isolates
    try:
        check_room()
        environment = here()
    except HostUnavailable as error:
        if kind != "auto" or _auto_has_isolates:
            raise
        say_auto_falls_back(error)
        return None
    if kind == "auto":
        _auto_has_isolates = True
        limit = room().limit
        if limit < cores():
            _say_once(f"{limit} isolates fit into this process, for {cores()} cores; to have more, {MORE_ROOM}")
    return environment.pack()


MORE_ROOM = "start the program with `atoll run`, or with GLIBC_TUNABLES=glibc.rtld.nns=16 in the environment"


def check_room() -> None:
    """Raise HostUnavailable if no isolate can be opened now. Starts nothing."""
    now = room()
    if now.reason:
        raise HostUnavailable(f"cannot open an isolate ({now.reason}); use kind='interpreter'")
    if now.is_full:
        raise HostUnavailable(
            f"cannot open an isolate (all {now.limit} that fit into this process are in use); close one, or {MORE_ROOM}"
        )


def say_crew_falls_back() -> None:
    """Tell the log that the crew of `auto` has sub-interpreters, if it is because no isolate is left for it.

    The native side calls it when it starts such a crew without having asked `for_crew`.
    """
    try:
        check_room()
    except HostUnavailable as error:
        say_auto_falls_back(error)


def say_auto_falls_back(error: HostUnavailable) -> None:
    """Tell the log, once in a process, that `auto` takes a sub-interpreter, and why."""
    # A machine of the wrong kind is nobody's news; what the user can mend is.
    _say_once(f"a sub-interpreter is used instead of an isolate: {error}", is_warning=not room().reason)


def _say_once(text: str, *, is_warning: bool = True) -> None:
    global _said_what_auto_does
    if _said_what_auto_does:
        return
    _said_what_auto_does = True
    import logging

    logging.getLogger("atoll").log(logging.WARNING if is_warning else logging.INFO, "kind='auto': %s", text)


# The parts -------------------------------------------------------------------------------------------------------


def _environment(
    *,
    libpython: str,
    native: str,
    version: str,
    config: tuple[str, ...],
    argv: list[str],
    environ: Mapping[str, str],
    path: list[str] | None,
    front: Iterable[str],
    offers: dict[str, str],
    key: str = "",
) -> Environment:
    full = {str(name): str(value) for name, value in environ.items() if path is not None or name not in _CALLERS_PYTHON}
    threads = _limit_threads(full)
    private = {name: value for name, value in full.items() if name != "PYTHONUNBUFFERED"}
    libraries = _library_folders(path or ())
    return Environment(
        libpython=libpython,
        native=native,
        version=version,
        key="\x1f".join((libpython, native, version, key, *config, "", *libraries)),
        config=(*config, *(f"l:argv={argument}" for argument in argv), *_original_argv(), *_warning_options()),
        environ=private,
        setup={
            "folder": os.path.dirname(os.path.dirname(native)),
            "path": path,
            "front": list(front),
            "offers": offers,
            "argv": argv,
            "environ": full,
            "warnings": _warning_filters(),
            "warnoptions": _texts(sys.warnoptions),
            "locale": _locale(),
            "threads": threads,
        },
    )


def _limit_threads(environ: dict[str, str]) -> int:
    """Divide the cores among the isolates that fit, wherever the user has not; 0 leaves it to the libraries."""
    setting = environ.get(THREADS_VARIABLE, "")
    if setting and not (setting.isascii() and setting.isdigit()):
        raise ValueError(
            f"cannot open an isolate with {THREADS_VARIABLE}={setting!r} (not a number of threads); "
            "set it to 1 or more, to 0 to leave the libraries alone, or not at all"
        )
    threads = int(setting) if setting else max(1, cores() // _workers())
    if threads:
        for name in THREAD_VARIABLES:
            environ.setdefault(name, str(threads))
    return threads


def cores() -> int:
    """Cores that this process may use."""
    return os.process_cpu_count() or 1


def _workers() -> int:
    return max(1, min(cores(), room().limit))


def _own_config() -> tuple[str, ...]:
    """How the running Python was configured, read from what it shows."""
    flags = sys.flags
    config = [
        f"i:isolated={flags.isolated:d}",
        f"i:use_environment={not flags.ignore_environment:d}",
        f"i:site_import={not flags.no_site:d}",
        f"i:user_site_directory={not flags.no_user_site:d}",
        f"i:safe_path={flags.safe_path:d}",
        *_manners(),
    ]
    # A program that embeds Python may have none to show.
    executable = sys.executable or os.path.join(sys.prefix, "bin", f"python{VERSION}")
    config += (f"s:executable={executable}", f"s:program_name={executable}")
    return tuple(config)


def _config_for(executable: str) -> tuple[str, ...]:
    """As if *executable* had been started from here."""
    return (
        "i:isolated=0",
        "i:use_environment=1",
        "i:site_import=1",
        "i:user_site_directory=1",
        "i:safe_path=1",
        *_manners(),
        f"s:executable={executable}",
        f"s:program_name={executable}",
    )


def _manners() -> list[str]:
    """The part of the configuration that is about behaviour, not about places."""
    flags = sys.flags
    config = [
        f"i:dev_mode={flags.dev_mode:d}",
        f"i:utf8_mode={flags.utf8_mode:d}",
        f"i:optimization_level={flags.optimize}",
        f"i:write_bytecode={not sys.dont_write_bytecode:d}",
        f"i:verbose={flags.verbose}",
        f"i:quiet={flags.quiet:d}",
        f"i:bytes_warning={flags.bytes_warning}",
        f"i:int_max_str_digits={flags.int_max_str_digits}",
        f"i:warn_default_encoding={flags.warn_default_encoding}",
    ]
    if sys.pycache_prefix is not None:
        config.append(f"s:pycache_prefix={sys.pycache_prefix}")
    stream = sys.__stdout__ or sys.__stderr__
    if stream is not None and sys.__stdout__ is stream:
        config += (f"s:stdio_encoding={stream.encoding}", f"s:stdio_errors={stream.errors}")
    for name, value in sys._xoptions.items():
        if name not in _ONLY_ONE_PER_PROCESS:
            config.append(f"l:xoptions={name}" if value is True else f"l:xoptions={name}={value}")
    return config


def _original_argv() -> Iterable[str]:
    return (f"l:orig_argv={argument}" for argument in sys.orig_argv)


def _warning_options() -> Iterable[str]:
    return (f"l:warnoptions={option}" for option in sys.warnoptions)


def _warning_filters() -> list[tuple[Any, ...]]:
    """`warnings.filters`, with patterns and classes as texts."""
    filters: list[tuple[Any, ...]] = []
    # `catch_warnings` puts another list into the place of the interpreter's own.
    for action, message, category, module, line in getattr(sys.modules.get("warnings"), "filters", _warnings.filters):
        name = (category.__module__, category.__qualname__)
        filters.append((str(action), _pattern(message), name, _pattern(module), int(line)))
    return filters


def _pattern(compiled: Any) -> tuple[str, int] | None:
    """A regular expression in two words; older filters hold plain texts."""
    if compiled is None:
        return None
    return (str(compiled), -1) if isinstance(compiled, str) else (str(compiled.pattern), int(compiled.flags))


def _locale() -> str:
    import _locale

    return _locale.setlocale(_locale.LC_ALL, None)


def _library_folders(path: Iterable[str]) -> list[str]:
    """Where installed packages come from: isolates keep these loaded, so the folders are a part of their key."""
    return [entry for entry in path if "site-packages" in entry or "dist-packages" in entry]


def _offers() -> dict[str, str]:
    """The packages that every isolate needs, and the folders they are in here; it looks there only as a last resort."""
    from importlib.machinery import PathFinder

    offers = {"atoll": _FOLDER}
    cloudpickle = sys.modules.get("cloudpickle")
    spec = getattr(cloudpickle, "__spec__", None) or PathFinder.find_spec("cloudpickle")
    if spec is not None and spec.origin is not None:
        offers["cloudpickle"] = os.path.dirname(os.path.dirname(spec.origin))
    return offers


def _glue_for(facts: Facts) -> tuple[str, dict[str, str]]:
    """The native module that another Python is to load: our own build for it if there is one, else the one it has."""
    ours = os.path.join(_FOLDER, "atoll", f"_native{facts['suffix']}")
    if os.path.isfile(ours):
        return ours, _offers()
    executable = facts["executable"]
    if not facts["native"]:
        raise HostUnavailable(
            f"cannot open an isolate of {executable} (atoll is not installed there); "
            f"run `{executable} -m pip install atoll=={own_release()}`"
        )
    if facts["release"] != own_release():
        raise HostUnavailable(
            f"cannot open an isolate of {executable} (it has atoll {facts['release']}, here is {own_release()}); "
            f"run `{executable} -m pip install atoll=={own_release()}`"
        )
    return facts["native"], {}


def own_release() -> str:
    """The release of the atoll that runs here."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("atoll")
    except PackageNotFoundError:  # imported from a folder that nobody installed
        return ""


def _own_native() -> str:
    return os.path.abspath(_native.__file__)


def _base_executable() -> str:
    return getattr(sys, "_base_executable", None) or sys.executable


def _stamp(file: str) -> str:
    """Changes when the file does."""
    status = os.stat(file)
    return f"{file}:{status.st_mtime_ns}:{status.st_size}"


def _texts(items: Iterable[Any]) -> list[str]:
    """Exact strings, which alone `marshal` takes; what else `sys.path` and `sys.argv` hold counts for nothing."""
    return [str(os.fsdecode(item)) for item in items if isinstance(item, (str, bytes, os.PathLike))]

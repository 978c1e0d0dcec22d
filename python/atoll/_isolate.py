"""What is particular to the inside of an isolate: how it starts, and how its sessions begin and end.

An isolate lives as long as the process; whoever opens one gets a *session* in it. The native side calls `start` once,
`begin` and `finish` around every session, all on the isolate's main thread, and `retire` at the end of the process.

# Invariants

- L1 A session finds what `start` left: the *baseline*. What one session changed in the interpreter, `finish` undoes.
- L2 Modules of the standard library, installed packages and extension modules stay loaded from one session to the next
  (many of them cannot be loaded twice); what the sessions' own code brought in is dropped. `_leftovers` has the rule.
"""

import _thread
import _warnings
import atexit
import builtins
import gc
import marshal
import os
import sys

from . import _agent, _rules

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from typing import Any

type Setup = dict[str, Any]

_read_text = ""
_read_setup: Setup = {}


def start(setup: str) -> None:
    """Make a Python that has just come up an isolate, and remember how it is now.

    The setup is that of `_environment`, without being applied: `begin` does that.
    """
    wanted = _read(setup)
    _offer_packages(wanted)
    _rules.refuse_signal_functions()
    _rules.write_whole_lines()
    _rules.end_forked_children()
    _exit_functions.install()
    _agent.around_task = _rules.run_task
    baseline.take()
    gc.freeze()


def begin(setup: str) -> None:
    """Give the next session its environment."""
    wanted = _read(setup)
    path = wanted["path"]
    sys.path[:] = [*wanted["front"], *baseline.path] if path is None else path
    sys.argv = list(wanted["argv"])
    _set_environ(wanted["environ"])
    _set_warnings(wanted)
    _set_locale(wanted["locale"])
    _set_threads(wanted["threads"])
    if _set_aside:
        _bring_back()


def finish() -> bool:
    """End the session: what it left running is stopped, what it changed is as before. False: not yet, call again.

    Blocks for half a second at most.
    """
    # First of all: what follows is Python too, and relies on its builtins, hooks and streams.
    baseline.restore()
    _leftovers = _import_leftovers()
    _exit_functions.run_session()
    if not _leftovers.stop_all():
        return False
    baseline.restore()
    baseline.restore_main()
    _leftovers.forget_session()
    _leftovers.collect()
    return True


def retire() -> None:
    """The process is about to end: do what a Python does then, short of taking itself apart."""
    if "threading" in sys.modules:
        _import_leftovers().leave_threading()
    atexit._run_exitfuncs()
    _rules.flush()


def _import_leftovers() -> "Any":
    """`_leftovers`, which no start waits for; the session may have left an import system that finds nothing."""
    if (found := sys.modules.get("atoll._leftovers")) is not None:
        return found
    parts: Any = (sys.meta_path, sys.path_hooks, sys.path)
    now = [list(part) for part in parts]
    sys.meta_path[:], sys.path_hooks[:], sys.path[:] = baseline.meta_path, baseline.path_hooks, baseline.path
    try:
        from . import _leftovers
    finally:
        for part, before in zip(parts, now, strict=True):
            part[:] = before
    return _leftovers


def _read(setup: str) -> Setup:
    """The setup as values; sessions that follow each other mostly have the same."""
    global _read_text, _read_setup
    if setup != _read_text:
        _read_setup = marshal.loads(bytes.fromhex(setup))
        _read_text = setup
    return _read_setup


# Beginning -------------------------------------------------------------------------------------------------------


def _offer_packages(setup: Setup) -> None:
    """Let Atoll and what it needs be found here, if this environment does not have them; nothing else from there."""
    folder = setup["folder"]
    if sys.path[:1] == [folder]:
        del sys.path[0]  # the native side put it there, to import this
    if setup["offers"]:
        sys.meta_path.append(_Offers(setup["offers"]))


class _Offers:
    """Finds the packages that every isolate needs where the opener has them. The last of the finders."""

    def __init__(self, folders: dict[str, str]) -> None:
        self._folders = folders

    def find_spec(self, name: str, *_: object) -> "Any":
        from importlib.machinery import PathFinder

        folder = self._folders.get(name)
        return None if folder is None else PathFinder.find_spec(name, [folder])


def _set_environ(wanted: dict[str, str]) -> None:
    current = dict(os.environ)
    if current == wanted:
        return
    for name in current.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if current.get(name) != value:
            os.environ[name] = value
    if current.get("TZ") != wanted.get("TZ"):
        import time

        time.tzset()


def _set_warnings(setup: Setup) -> None:
    sys.warnoptions[:] = setup["warnoptions"]
    wanted = [
        (action, _compiled(message), category, _compiled(where), line)
        for action, message, (module, name), where, line in setup["warnings"]
        if (category := _find_category(module, name)) is not None
    ]
    if wanted != _filters():
        _set_filters(wanted)


def _filters() -> "list[Any]":
    """Those in force: `warnings` may have put another list into the place of the interpreter's own."""
    found: list[Any] = getattr(sys.modules.get("warnings"), "filters", _warnings.filters)
    return found


def _set_filters(wanted: "list[Any]") -> None:
    import warnings

    warnings.resetwarnings()
    filters: Any = warnings.filters
    filters.extend(wanted)


def _find_category(module: str, name: str) -> "Any":
    """The class of a warning; one of a package that was not imported here has nothing to filter yet."""
    found: Any = sys.modules.get(module)
    if found is None and module in sys.stdlib_module_names:
        import importlib

        found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _compiled(pattern: tuple[str, int] | None) -> "Any":
    if pattern is None:
        return None
    text, flags = pattern
    if flags == -1:
        return text
    import re

    return re.compile(text, flags)


def _set_locale(wanted: str) -> None:
    import _locale

    if _locale.setlocale(_locale.LC_ALL, None) != wanted:
        try:
            _locale.setlocale(_locale.LC_ALL, wanted)
        except Exception:  # `_locale.Error`: it was uninstalled meanwhile; what is set stays
            pass


_threads_set: int | None = None


def _set_threads(count: int) -> None:
    """The first session's count is in the environment that the libraries read; another one has to be told to them."""
    global _threads_set
    before, _threads_set = _threads_set, count
    if before is None or before == count or not count:
        return
    import importlib

    try:
        limits: Any = importlib.import_module("threadpoolctl")
    except ImportError:
        return
    limits.threadpool_limits(limits=count)


# The baseline ----------------------------------------------------------------------------------------------------

_HOOKS = (
    "excepthook", "displayhook", "unraisablehook", "breakpointhook", "stdin", "__stdin__", "executable",
    "_base_executable", "prefix", "exec_prefix", "base_prefix", "base_exec_prefix", "dont_write_bytecode",
    "pycache_prefix", "tracebacklimit", "ps1", "ps2", "last_exc", "last_type", "last_value", "last_traceback",
)  # fmt: skip
"""Attributes of `sys` that anybody may set; some of them are absent at first."""

_ABSENT = object()
_TOOLS = 6
"""Numbers that `sys.monitoring` gives to debuggers, profilers and their like."""


class _Baseline:
    """How the interpreter was when `start` was done with it."""

    def take(self) -> None:
        # What is not loaded yet is as the library has it.
        threading, warnings = sys.modules.get("threading"), sys.modules.get("warnings")
        self.main = sys.modules["__main__"]
        self.main_names = dict(vars(self.main))
        self.path = list(sys.path)
        self.warning_filters = list(_filters())
        self.show_warning = warnings and warnings.showwarning
        self.format_warning = warnings and warnings.formatwarning
        self.trace, self.profile = sys.gettrace(), sys.getprofile()
        self.thread_trace = threading and threading.gettrace()
        self.thread_profile = threading and threading.getprofile()
        self.is_tracing_memory = "tracemalloc" in sys._xoptions or bool(os.environ.get("PYTHONTRACEMALLOC"))
        self.tools = [sys.monitoring.get_tool(tool) for tool in range(_TOOLS)]
        self.hooks = {name: getattr(sys, name, _ABSENT) for name in _HOOKS}
        self.thread_hook = threading and threading.excepthook
        self.builtin_names = dict(vars(builtins))
        self.meta_path = list(sys.meta_path)
        self.path_hooks = list(sys.path_hooks)
        self.environ = os.environ
        self.recursion_limit = sys.getrecursionlimit()
        self.switch_interval = sys.getswitchinterval()
        self.digits = sys.get_int_max_str_digits()
        self.gc_threshold = gc.get_threshold()

    def restore(self) -> None:
        """Undo what a session has changed in `sys`, `builtins`, `threading` and `gc`."""
        self._restore_builtins()
        for name, value in self.hooks.items():
            if value is not _ABSENT:
                setattr(sys, name, value)
            elif hasattr(sys, name):
                delattr(sys, name)
        _rules.write_whole_lines()
        sys.set_asyncgen_hooks(None, None)
        sys.set_coroutine_origin_tracking_depth(0)
        vars(os)["environ"] = self.environ
        self._restore_tracing()
        _thread.stack_size(0)
        if sys.getrecursionlimit() != self.recursion_limit:
            sys.setrecursionlimit(self.recursion_limit)
        sys.setswitchinterval(self.switch_interval)
        sys.set_int_max_str_digits(self.digits)
        gc.enable()
        gc.set_debug(0)
        gc.set_threshold(*self.gc_threshold)

    def restore_main(self) -> None:
        """Empty `__main__`: it may hold what ends threads, so only when they have ended."""
        names = vars(self.main)
        names.clear()
        names.update(self.main_names)
        sys.modules["__main__"] = self.main

    def restore_warnings(self) -> None:
        """The filters of the start, for what is said between two sessions."""
        warnings: Any = sys.modules.get("warnings")
        if warnings is None:
            return
        _set_filters(self.warning_filters)
        warnings.showwarning = self.show_warning or warnings._showwarning_orig
        warnings.formatwarning = self.format_warning or warnings._formatwarning_orig

    def _restore_tracing(self) -> None:
        sys.settrace(self.trace)
        sys.setprofile(self.profile)
        threading: Any = sys.modules.get("threading")
        if threading is not None:
            threading.settrace(self.thread_trace)
            threading.setprofile(self.thread_profile)
            threading.excepthook = self.thread_hook or threading.__excepthook__
        for tool, name in enumerate(self.tools):
            if name is None and sys.monitoring.get_tool(tool) is not None:
                sys.monitoring.set_events(tool, 0)
                sys.monitoring.free_tool_id(tool)
        if not self.is_tracing_memory and "tracemalloc" in sys.modules:
            sys.modules["tracemalloc"].stop()

    def _restore_builtins(self) -> None:
        names = vars(builtins)
        for name in names.keys() - self.builtin_names.keys():
            del names[name]
        for name, value in self.builtin_names.items():
            if names.get(name) is not value:
                names[name] = value


baseline = _Baseline()


# Exit functions --------------------------------------------------------------------------------------------------


class _ExitFunctions:
    """`atexit` for sessions: what the caller's code registers runs when its session ends.

    What modules register that stay loaded waits for `retire`, in the `atexit` that it believes it has used.
    """

    def __init__(self) -> None:
        self._of_session: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self._register = atexit.register
        self._unregister = atexit.unregister

    def install(self) -> None:
        atexit.register = self.register
        atexit.unregister = self.unregister

    def register(self, func: "Any", /, *args: "Any", **kwargs: "Any") -> "Any":
        """Register *func* to be called when the session ends, or for a library, when the process does."""
        from . import _leftovers

        if _leftovers.stays(sys._getframe(1).f_globals.get("__name__", "__main__")):
            return self._register(func, *args, **kwargs)
        if not callable(func):
            raise TypeError("the first argument must be callable")
        self._of_session.append((func, args, kwargs))
        return func

    def unregister(self, func: "Any", /) -> None:
        """Forget every registration of *func*."""
        self._of_session[:] = [entry for entry in self._of_session if entry[0] != func]
        self._unregister(func)

    def run_session(self) -> None:
        """Call what the session has registered, last first."""
        while self._of_session:
            func, args, kwargs = self._of_session.pop()
            try:
                func(*args, **kwargs)
            except SystemExit:
                pass
            except BaseException:
                sys.excepthook(*sys.exc_info())


_exit_functions = _ExitFunctions()
run_session_exit_functions = _exit_functions.run_session


# Packages from elsewhere -----------------------------------------------------------------------------------------

_set_aside: "dict[str, dict[str, Any]]" = {}
"""Extension packages that were loaded from a folder which is on no later session's path, by that folder."""


def set_aside(folder: str, modules: "dict[str, Any]") -> None:
    """Keep modules that cannot be loaded twice, for sessions that look for modules in *folder*."""
    _set_aside.setdefault(folder, {}).update(modules)


def _bring_back() -> None:
    for folder in [folder for folder in _set_aside if folder in sys.path]:
        for name, module in _set_aside.pop(folder).items():
            sys.modules.setdefault(name, module)

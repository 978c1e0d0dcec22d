"""What a session leaves behind in an isolate, and how it goes: threads, pools, modules, hooks, handlers.

Which modules stay loaded: those of the standard library, those of installed packages (in a folder `site-packages` or
`dist-packages`), and, wherever it lies, every package that has loaded an extension module, as a whole: most extension
modules cannot be loaded twice, and the Python around one refers to it. All others are the caller's own code, which may
be edited between two sessions: they go.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time

from . import _agent, _isolate, _loading

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import Any

PATIENCE = 0.4
"""Seconds that one call of `stop_all` waits for threads to end."""

WORKER_PATIENCE = 0.05
"""Seconds for the idle workers of executors."""

DAEMON_PATIENCE = 0.1
"""Seconds for threads that no Python waits for at its end; they end later, when they come back from C code."""

# Threads and pools -----------------------------------------------------------------------------------------------


def stop_all() -> bool:
    """Stop the session's pools, child processes and threads. False if a thread has not ended yet.

    Daemon threads that do not return from C code are left to themselves: their SystemExit waits for them.
    """
    if len(sys._current_frames()) == 1 and "multiprocessing.util" not in sys.modules:
        return True
    hook = threading.excepthook
    threading.excepthook = _say_nothing  # threads that are told to go have nothing to report
    try:
        _end_child_processes()
        revive = _stop_idle_workers()
        remaining = _stop_threads()
        revive()
    finally:
        threading.excepthook = hook
    return not remaining


def _say_nothing(args: object) -> None:
    pass


def _stop_idle_workers() -> Callable[[], None]:
    """Have the workers of `concurrent.futures` leave; what is returned makes their executors as good as new.

    Those of the session are gone by then, with their futures. A library's own executor works on: it starts new
    threads for its next job.
    """
    pools = sys.modules.get("concurrent.futures.thread")
    if pools is None or not pools._threads_queues:
        return lambda: None
    executors = set()
    queues, workers = [], []
    with pools._global_shutdown_lock:
        for thread, queue in list(pools._threads_queues.items()):
            # The first argument of a worker is the weak reference to its executor.
            arguments = getattr(thread, "_args", None)
            executor = arguments[0]() if arguments else None
            if executor is not None:
                executors.add(executor)
                executor._shutdown = True
            queue.put(None)
            queues.append(queue)
            workers.append(thread)
    # Idle ones are gone in a moment, quietly: nothing needs to be thrown at them.
    deadline = time.monotonic() + WORKER_PATIENCE
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))

    def revive() -> None:
        for queue in queues:
            while not queue.empty():
                queue.get_nowait()
        for executor in executors:
            executor._threads.clear()
            executor._idle_semaphore = threading.Semaphore(0)
            executor._shutdown = False
        executors.clear()

    return revive


def _end_child_processes() -> None:
    """What `multiprocessing` does at the end of a program, less the waiting for children that are no daemons."""
    processes: Any = sys.modules.get("concurrent.futures.process")
    if processes is not None:
        wakeups = list(processes._threads_wakeups.items())
        if wakeups:
            processes._global_shutdown = True
            try:
                for _, wakeup in wakeups:
                    wakeup.wakeup()
                for thread, _ in wakeups:
                    thread.join(PATIENCE)
            finally:
                processes._global_shutdown = False
    util = sys.modules.get("multiprocessing.util")
    if util is None:
        return
    util._run_finalizers(0)
    context = sys.modules.get("multiprocessing.process")
    for child in context.active_children() if context is not None else ():
        if child.daemon:
            child.terminate()
            child.join(PATIENCE)
    util._run_finalizers()


def _stop_threads() -> list[int]:
    """Throw SystemExit into every thread but this one and wait a moment. The threads that a Python would wait for."""
    deadline = time.monotonic() + PATIENCE
    daemon_deadline = time.monotonic() + DAEMON_PATIENCE
    pause = 0.0005
    thrown: set[int] = set()
    while True:
        others = _other_threads()
        if not others:
            return []
        for ident in others.keys() - thrown:
            _throw_exit(ident)
            thrown.add(ident)
        _wake(others)
        waited_for = [ident for ident, daemon in others.items() if not daemon]
        now = time.monotonic()
        if now >= (deadline if waited_for else daemon_deadline):
            return waited_for
        # Threads that `threading` does not know cannot be joined, and the others may be stuck in any order.
        _agent.original_sleep(pause)
        pause = min(pause * 2, 0.02)


def _other_threads() -> dict[int, bool]:
    """The threads in this interpreter besides this one, and whether each is a daemon (as unknown ones are)."""
    me = threading.get_ident()
    known = {thread.ident: thread.daemon for thread in threading.enumerate()}
    return {ident: known.get(ident, True) for ident in sys._current_frames() if ident != me}


def _throw_exit(ident: int) -> None:
    try:
        import ctypes
    except ImportError:  # a Python without it: the thread has to end by itself
        return
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))


def _wake(idents: Iterable[int]) -> None:
    """End the waits for conditions, events and queues: an exception strikes only once such a wait is over."""
    frames = sys._current_frames()
    for ident in idents:
        frame = frames.get(ident)
        if frame is None or frame.f_code is not threading.Condition.wait.__code__:
            continue
        waiter = frame.f_locals.get("waiter")
        try:
            if waiter is not None:
                waiter.release()
        except RuntimeError:  # it has just been notified
            pass


def leave_threading() -> None:
    """What `threading` does at the end of a program, if no thread is left to wait for."""
    if all(_other_threads().values()):
        for leave in reversed(getattr(threading, "_threading_atexits", ())):
            try:
                leave()
            except Exception:
                sys.excepthook(*sys.exc_info())


# Modules ---------------------------------------------------------------------------------------------------------

_LIBRARY = os.path.dirname(os.path.realpath(os.__file__)) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

_staying: set[str] = {"__main__", "atoll", "cloudpickle"}
"""Names of packages, and of modules outside of packages, of which it is known that they stay."""


def stays(module_name: str) -> bool:
    """Whether a module stays loaded when the session ends."""
    if module_name == "__main__":
        return False
    unit = _unit_of(module_name)
    return unit in _staying or _is_kept(unit, [module_name])


def _unit_of(name: str) -> str:
    """What stays or goes as a whole: a package of the first level; in a namespace package, one of the next."""
    top, dot, rest = name.partition(".")
    if not dot or getattr(sys.modules.get(top), "__file__", None) is not None:
        return top
    if not hasattr(sys.modules.get(top), "__path__"):
        return top
    return f"{top}.{rest.partition('.')[0]}"


def _is_kept(unit: str, names: Iterable[str]) -> bool:
    modules = [sys.modules.get(name) for name in {unit, *names}]
    return unit.startswith("_cython_") or any(_holds_on(module) for module in modules if module is not None)


def _holds_on(module: ModuleType) -> bool:
    """Whether this module makes its package stay."""
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None)
    if origin in ("built-in", "frozen"):
        return True
    file = getattr(module, "__file__", None) or origin
    if not isinstance(file, str):
        return False
    from importlib.machinery import EXTENSION_SUFFIXES

    return _is_library_file(file) or file.endswith(tuple(EXTENSION_SUFFIXES))


def _drop_modules() -> None:
    """Forget the modules of the caller's own code, and note whether others have come that stay."""
    global _has_grown
    _has_grown = False
    units: dict[str, list[str]] = {}
    for name in list(sys.modules):
        if name not in _staying and name.partition(".")[0] not in _staying:
            units.setdefault(_unit_of(name), []).append(name)
    for unit, names in list(units.items()):
        if unit in _staying or _is_kept(unit, names):
            del units[unit]
            _staying.add(unit)
            _has_grown = _has_grown or unit not in _seen
            _seen.add(unit)
    for name in (name for names in units.values() for name in names):
        # A namespace package stays as long as one of its parts does.
        if not any(unit.startswith(f"{name}.") for unit in _staying):
            _forget(name)
    _move_foreign_packages()


def _forget(name: str) -> None:
    """Take a module out of `sys.modules`, and out of the package that it is a part of."""
    module = sys.modules.pop(name)
    parent, _, own_name = name.rpartition(".")
    names = getattr(sys.modules.get(parent), "__dict__", {})
    if own_name in names and names[own_name] is module:
        del names[own_name]


def _move_foreign_packages() -> None:
    """Take packages out that stay only for their extension modules: a session with another path must not see them."""
    for unit in list(_staying - _permanent):
        module = sys.modules.get(unit)
        file = getattr(module, "__file__", None)
        if file is None or _is_library_file(file):
            _permanent.add(unit)
            continue
        is_package = os.path.basename(file).startswith("__init__.")
        folder = file
        for _ in range(1 + is_package + unit.count(".")):
            folder = os.path.dirname(folder)
        modules = {name: one for name, one in sys.modules.items() if name == unit or name.startswith(f"{unit}.")}
        for name in modules:
            del sys.modules[name]
        _staying.discard(unit)
        _isolate.set_aside(folder, modules)


_permanent: set[str] = {"__main__", "atoll", "cloudpickle"}
_seen: set[str] = set()
_has_grown = True


def _is_library_file(file: str) -> bool:
    return any(part in file for part in _INSTALLED) or os.path.realpath(file).startswith(_LIBRARY)


# The rest --------------------------------------------------------------------------------------------------------


def forget_session() -> None:
    """Drop the session's modules and what the interpreter and the standard library remember of them."""
    for step in (
        _reset_import_system,
        _close_loop,
        _restore_library_state,
        _drop_modules,
        _loading.forget,
        _forget_shipped,
        _agent.forget_sources,
        _forget_caches,
        _drop_warnings,
    ):
        try:
            step()
        except Exception:  # of a library, or by what was done to it: the rest is to be done all the same
            sys.excepthook(*sys.exc_info())


def _reset_import_system() -> None:
    sys.meta_path[:] = _still_wanted(sys.meta_path, _isolate.baseline.meta_path)
    sys.path_hooks[:] = _still_wanted(sys.path_hooks, _isolate.baseline.path_hooks)
    for folder in list(sys.path_importer_cache):
        if not _is_library_file(folder + os.sep):
            del sys.path_importer_cache[folder]


def _forget_shipped() -> None:
    if (shipping := sys.modules.get("atoll._shipping")) is not None:
        shipping.forget()


def _forget_caches() -> None:
    if (linecache := sys.modules.get("linecache")) is not None:
        linecache.clearcache()
    for clear in getattr(sys.modules.get("typing"), "_cleanups", ()):
        clear()


def collect() -> None:
    """Free what the session left in cycles. What stays is not looked at again next time."""
    gc.collect()
    if _has_grown:
        # Only then: freezing what each session leaves would keep whatever of it becomes garbage later.
        gc.freeze()


def _still_wanted(current: list[Any], first: list[Any]) -> list[Any]:
    """The hooks of the start, where they have been put since, and those of modules that stay."""
    kept = [hook for hook in current if hook in first or stays(getattr(hook, "__module__", None) or "__main__")]
    return kept + [hook for hook in first if hook not in kept]


def _drop_warnings() -> None:
    """Filters and registries hold the session's classes; `begin` sets the filters of the next one."""
    _isolate.baseline.restore_warnings()
    getattr(sys.modules.get("warnings"), "onceregistry", {}).clear()


def _close_loop() -> None:
    """Close the event loop that the session has set for this thread, and forget its policy."""
    events: Any = sys.modules.get("asyncio.events")
    policy = getattr(events, "_event_loop_policy", None)
    if events is None or policy is None:
        return
    loop = getattr(getattr(policy, "_local", None), "_loop", None)
    if loop is not None and not loop.is_running() and not loop.is_closed():
        loop.close()
    events._event_loop_policy = None


def _restore_library_state() -> None:
    """Undo settings of the standard library that would surprise the next session."""
    modules: dict[str, Any] = sys.modules
    if (socket := modules.get("socket")) is not None:
        socket.setdefaulttimeout(None)
    if (random := modules.get("random")) is not None:
        random.seed()
    if (tempfile := modules.get("tempfile")) is not None:
        tempfile.tempdir = None
    if (copyreg := modules.get("copyreg")) is not None:
        for cls in [cls for cls in copyreg.dispatch_table if not stays(cls.__module__)]:
            del copyreg.dispatch_table[cls]
    if (bdb := modules.get("bdb")) is not None:
        bdb.Breakpoint.clearBreakpoints()
    if (logging := modules.get("logging")) is not None:
        _reset_logging(logging)


def _reset_logging(logging: Any) -> None:
    """The root logger as at first, and no handler anywhere that the session's own code has made."""
    root = logging.getLogger()
    own = [logger for name, logger in list(root.manager.loggerDict.items()) if not stays(name.partition(".")[0])]
    for logger in [root, *own]:
        for handler in list(getattr(logger, "handlers", ())):
            logger.removeHandler(handler)
            handler.close()
    for name in [name for name in root.manager.loggerDict if not stays(name.partition(".")[0])]:
        del root.manager.loggerDict[name]
    root.setLevel(logging.WARNING)
    root.filters.clear()
    logging.disable(logging.NOTSET)
    logging.captureWarnings(False)

"""House rules of an isolate, as it shares the process with others: signals, standard streams, forked children.

Those of the standard streams are every host's.
"""

import _io
import os
import sys

from . import _native

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from collections.abc import Callable, Coroutine
    from typing import Any, NoReturn

# Signals ---------------------------------------------------------------------------------------------------------

_REFUSED = {
    "_signal": ("signal", "set_wakeup_fd", "siginterrupt", "setitimer", "alarm"),
    "signal": ("signal", "set_wakeup_fd", "siginterrupt", "setitimer", "alarm"),
    "faulthandler": ("enable", "register"),
}
"""Functions that take hold of the process's signal handlers or timers. There is one of each, and they are main's."""


def refuse_signal_functions() -> None:
    """Make the functions that would take signals away from the main interpreter raise ValueError."""
    for module_name, names in _REFUSED.items():
        # `signal` takes its functions from `_signal` when it is imported.
        module = sys.modules.get("signal") if module_name == "signal" else __import__(module_name)
        for name in names if module is not None else ():
            original = getattr(module, name, None)
            if original is not None:
                setattr(module, name, _refusal(f"{module_name.lstrip('_')}.{name}", original))


def _refusal(name: str, original: "Callable[..., Any]") -> "Callable[..., Any]":
    def refuse(*args: "Any", **kwargs: "Any") -> "Any":
        if is_forked_child:  # its signals are its own
            return original(*args, **kwargs)
        raise ValueError(
            f"cannot call {name} in an isolate (signal handlers and timers belong to the process, so to its main "
            "interpreter); call it there, and tell the isolate through a Channel"
        )

    refuse.__name__ = refuse.__qualname__ = name.rpartition(".")[2]
    refuse.__doc__ = original.__doc__
    return refuse


# Standard streams ------------------------------------------------------------------------------------------------

_LONGEST_LINE = 1 << 20
"""Characters of an unfinished line that are held back for its end."""


_streams: dict[str, tuple[int, str, str]] = {}
"""Descriptor, encoding and error handling of the streams that this Python came up with."""


def write_whole_lines() -> None:
    """Have `print` write every line at once, so that lines of several interpreters do not mix.

    Makes new streams each time: a session may have closed or reconfigured those that it had.
    """
    flush()
    if not _streams:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None:  # its descriptor was open when the process started
                _streams[name] = (stream.fileno(), stream.encoding, stream.errors)
    for name, (descriptor, encoding, errors) in _streams.items():
        lines = whole_lines(descriptor, f"<{name}>", encoding, errors)
        setattr(sys, name, lines)
        setattr(sys, f"__{name}__", lines)


def whole_lines(descriptor: int, name: str, encoding: str, errors: str) -> _io.TextIOWrapper:
    """A stream to that descriptor of the process that writes every line at once."""
    lines = _io.TextIOWrapper(
        _Whole(descriptor, name), encoding=encoding, errors=errors, newline="\n", line_buffering=True
    )
    lines._CHUNK_SIZE = _LONGEST_LINE  # type: ignore[attr-defined]
    vars(lines)["mode"] = "w"
    return lines


class _Whole(_io.FileIO):
    """A descriptor of the process. One `write` is one piece of output, whoever else writes there."""

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.name = name

    def write(self, data: "Any", /) -> int:
        descriptor = self.fileno()
        if is_forked_child:  # a thread that is gone may have been writing at the fork
            rest = memoryview(data).cast("B")
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        else:
            _native.write_whole(descriptor, data)
        return memoryview(data).nbytes


def flush() -> None:
    """What was printed is out."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass


# Forked children -------------------------------------------------------------------------------------------------

is_forked_child = False
"""Whether this process was forked from an isolate. It has one thread, and no engine, host or parent to return to."""


def end_forked_children() -> None:
    """Have children that are forked from here end where a script would: when the function that forked is over."""
    os.register_at_fork(after_in_child=_note_fork)


def _note_fork() -> None:
    global is_forked_child
    is_forked_child = True


def run_task(fn: "Callable[..., Any]", args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> "Any":
    """Call the function of a task. In a child that it has forked, the end of the function is the end of the process."""
    try:
        value = fn(*args, **kwargs)
    except BaseException as error:
        if is_forked_child:
            _end_child(error)
        raise
    if is_forked_child:
        _end_child(None)
    return value


async def run_coroutine(body: "Coroutine[Any, Any, Any]") -> "Any":
    """Await the coroutine of a task; its end is the end of a child that it has forked, as in `run_task`."""
    try:
        value = await body
    except BaseException as error:
        if is_forked_child:
            _end_child(error)
        raise
    if is_forked_child:
        _end_child(None)
    return value


def _end_child(error: BaseException | None) -> "NoReturn":
    """Leave a forked child as a script would that has come to its end, or failed."""
    code = 0
    try:
        code = _report(error)
        _wait_for_threads()
        from . import _isolate

        _isolate.run_session_exit_functions()
        flush()
    finally:
        os._exit(code)


def _wait_for_threads() -> None:
    import threading

    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()


def _report(error: BaseException | None) -> int:
    """Show *error* as an interpreter does that ends by it; the exit code."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        if error.code is None:
            return 0
        if isinstance(error.code, int):
            return error.code & 0xFF
        print(error.code, file=sys.stderr)
        return 1
    sys.excepthook(type(error), error, error.__traceback__)
    return 1

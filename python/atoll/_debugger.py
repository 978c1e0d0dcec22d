"""`breakpoint()` wherever code runs: pdb at the terminal that the process was started from, one debugger at a time.

`sys.breakpointhook` of every interpreter is a native function that calls what `chosen_hook` gives. The engine hands out
the *turn* to talk (`crates/core/src/terminal.rs`): a debugger takes it for its first prompt and gives it back when its
code goes on by itself. In between, code that runs on to the next stop keeps it, but not for long against others.

Only the main thread of the main interpreter has Python's own line editing and Ctrl-C. All others read their lines
through the engine, where Ctrl-C reaches the one at the prompt, and a cancellation ends the wait.
"""

from __future__ import annotations

import bdb
import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from . import _agent, _native
from ._errors import Cancellation
from ._exit import MAIN_HOST

_UNDER_TASKS = frozenset(["atoll._agent", "atoll._rules", "atoll._async_tasks", "atoll._pool.worker"])
"""Modules that call the functions of tasks: what lies beyond them is nobody's to step into."""

_YIELD = bdb.GENERATOR_AND_COROUTINE_FLAGS


def chosen_hook() -> Callable[..., Any]:
    """What `breakpoint()` calls here: `set_trace`, unless $PYTHONBREAKPOINT wants something else."""
    wanted = None if sys.flags.ignore_environment else os.environ.get("PYTHONBREAKPOINT")
    if wanted and wanted != "pdb.set_trace":
        return sys.__breakpointhook__
    return set_trace


def set_trace(*, header: str | None = None, **more: Any) -> None:
    """Stop in the calling frame, as `pdb.set_trace` does, as soon as the terminal is free."""
    frame = sys._getframe(1)
    if getattr(_here, "is_talking", False):
        return  # a command of the debugger has called what has a breakpoint; nothing is traced in there
    debugger = _debugger_here()
    debugger.header = header
    debugger.set_trace(frame, **more)


_here = threading.local()
"""Whether this thread is at the prompt."""


def _debugger_here() -> Any:
    """A debugger for this thread."""
    global _classes
    with _readline_hidden:
        if _classes is None:
            _classes = _make_classes()
        of_main_thread, of_others = _classes
        if _native.current_host() == MAIN_HOST and threading.current_thread() is threading.main_thread():
            return of_main_thread.again()
        return of_others()


class _ReadlineHidden:
    """While somebody is in here, `readline` cannot be imported, but by the main interpreter.

    Each copy of that library would take hold of the terminal, and of a signal, for itself.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if _native.current_host() != MAIN_HOST:
                sys.modules.setdefault("readline", None)  # type: ignore[arg-type]

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and sys.modules.get("readline", self) is None:
                del sys.modules["readline"]


_readline_hidden = _ReadlineHidden()
_classes: tuple[Any, Any] | None = None


def _make_classes() -> tuple[Any, Any]:
    """`pdb` costs 20 ms to import, so it is imported when somebody stops."""
    pdb_class: Any = __import__("pdb").Pdb

    class TakesTurns(pdb_class):  # type: ignore[misc]
        """A pdb that talks only when it is its turn."""

        wants_ctrl_c = False
        header: str | None = None
        _turn = 0
        _continues = False

        def user_line(self, frame: FrameType) -> None:
            self._talk(super().user_line, frame)

        user_opcode = user_line

        def user_call(self, frame: FrameType, arguments: Any) -> None:
            self._talk(super().user_call, frame, arguments)

        def user_return(self, frame: FrameType, value: Any) -> None:
            self._talk(super().user_return, frame, value)

        def user_exception(self, frame: FrameType, info: Any) -> None:
            if isinstance(info[1], Cancellation):
                self.end()  # whoever cancels a task has no questions
            else:
                self._talk(super().user_exception, frame, info)

        def _talk(self, stop: Callable[..., None], *args: Any) -> None:
            self._turn = _native.take_terminal(self._turn, self.wants_ctrl_c)
            _here.is_talking = True
            self._continues = False
            try:
                self._say_hello()
                stop(*args)
            except BaseException:
                self.end()
                raise
            finally:
                _here.is_talking = False
            if self.quitting or self._continues:
                self.go_on()
            else:
                _native.leave_terminal(self._turn)

        def _say_hello(self) -> None:
            header, self.header = self.header, None
            if header is not None:
                self.message(header)

        def set_continue(self) -> None:
            super().set_continue()
            self._continues = True

        def go_on(self) -> None:
            """The code goes on by itself: others may talk."""
            turn, self._turn = self._turn, 0
            _native.give_terminal_back(turn)

        def end(self) -> None:
            """Whatever comes, this thread is not traced any more."""
            self.set_continue()
            getattr(self, "stop_trace", _stop_trace)()
            self.go_on()

    class MainDebugger(TakesTurns):
        """For the main thread of the main interpreter: as `pdb.set_trace` has it."""

        @classmethod
        def again(cls) -> Any:
            last = getattr(pdb_class, "_last_pdb_instance", None)
            if isinstance(last, cls):
                return last
            if sys.version_info >= (3, 14):
                return cls(mode="inline", backend="monitoring", colorize=True)
            return cls()

    class HostDebugger(TakesTurns):
        """For every other thread, in whatever interpreter."""

        _raised_in: FrameType | None = None
        """Where an exception was raised last, as long as no line has been executed since."""

        def __init__(self) -> None:
            self.keyboard = _Keyboard()
            self.wants_ctrl_c = os.isatty(0)  # else who interrupts the program means the program
            more = {"backend": "settrace"} if sys.version_info >= (3, 14) else {}
            super().__init__(stdin=self.keyboard, stdout=_screen(), skip=["atoll", "atoll.*"], nosigint=True, **more)
            self.prompt = f"(Pdb {_who()}) "

        def set_trace(self, frame: FrameType, **more: Any) -> None:
            bottom, beyond = _bottom_of(frame)
            super().set_trace(frame, **more)
            # From here on every call is traced, so there are none.
            self.botframe = bottom
            while beyond is not None:
                beyond.f_trace, beyond.f_trace_opcodes = None, False
                beyond = beyond.f_back

        def _set_caller_tracefunc(self, current_frame: FrameType) -> None:
            if current_frame is not self.botframe:  # whose caller is nobody's to step into
                super()._set_caller_tracefunc(current_frame)

        def dispatch_return(self, frame: FrameType, value: Any) -> Any:
            traced = super().dispatch_return(frame, value)
            if frame is self.botframe:
                if _is_suspended(frame) and frame is not self._raised_in:
                    super().go_on()  # what it awaits may want the terminal itself
                else:
                    self.end()  # the thread goes on to other work
                    return None
            return traced

        def go_on(self) -> None:
            super().go_on()
            if self.quitting or not self.breaks:
                self._forget_frames()

        def end(self) -> None:
            super().end()
            self._forget_frames()

        def _forget_frames(self) -> None:
            """Keep nothing alive of a task that is looked at no more: its channel ends close when it ends."""
            if self.botframe is not None:
                self.botframe.f_trace = None
            self.forget()
            self._raised_in = None
            # The last two: until 3.13, and since 3.14.
            for name in ("botframe", "stopframe", "returnframe", "enterframe", "curframe_locals", "_current_task"):
                setattr(self, name, None)
            self.frame_trace_lines_opcodes: dict[FrameType, Any] = {}

        def dispatch_exception(self, frame: FrameType, info: Any) -> Any:
            self._raised_in = frame
            return super().dispatch_exception(frame, info)

        def dispatch_line(self, frame: FrameType) -> Any:
            self._raised_in = None
            return super().dispatch_line(frame)

        def onecmd(self, line: str) -> Any:
            """A command that reads (`interact`, `clear`, `!input()`) reads from the same keyboard."""
            before, sys.stdin = sys.stdin, self.keyboard
            try:
                with _readline_hidden:
                    return super().onecmd(line)
            finally:
                sys.stdin = before

    return MainDebugger, HostDebugger


def _stop_trace() -> None:
    """What `Bdb.stop_trace` does before 3.14, where it has none."""
    sys.settrace(None)


def _bottom_of(frame: FrameType) -> tuple[FrameType, FrameType | None]:
    """The outermost frame that is the user's, and the first beyond it."""
    bottom, beyond = frame, frame.f_back
    while beyond is not None and beyond.f_globals.get("__name__") not in _UNDER_TASKS:
        bottom, beyond = beyond, beyond.f_back
    return bottom, beyond


def _is_suspended(frame: FrameType) -> bool:
    """Whether a frame that seems to return, or to raise, is a coroutine's that awaits."""
    import opcode

    code = frame.f_code
    return bool(code.co_flags & _YIELD) and opcode.opname[code.co_code[frame.f_lasti]] in ("YIELD_VALUE", "RESUME")


def _who() -> str:
    """Who is talking: the host, and the task or the thread."""
    own = _native.current_host()
    host = next((name for number, _, name, *_ in _native.hosts() if number == own), f"host {own}")
    task = _agent.coroutines_task() or _native.current_task()
    if task is None:
        return f"{host} {threading.current_thread().name}"
    number, name, _ = task
    return f"{host} task-{number}" if name is None else f"{host} {name}"


class _Keyboard:
    """Standard input of the process, line by line, as `pdb` and `input` read it."""

    errors = "surrogateescape"

    def __init__(self) -> None:
        self.encoding = getattr(sys.__stdin__, "encoding", None) or "utf-8"

    def readline(self, _size: int = -1, /) -> str:
        if sys.__stdin__ is None:
            return ""  # the descriptor was closed when the process started, and may be anything by now
        line = _native.read_terminal_line()
        if line is None:
            raise KeyboardInterrupt
        return line.decode(self.encoding, self.errors)


def _screen() -> Any:
    """Standard output of the process, whatever `sys.stdout` is here; its lines are whole."""
    from . import _rules

    return _rules.whole_lines(1, "<stdout>", getattr(sys.__stdout__, "encoding", None) or "utf-8", "backslashreplace")

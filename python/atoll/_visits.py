"""What a visitor does in an interpreter: a thread that enters it for a moment, whatever its own threads do meanwhile.

The native side starts the thread and calls `perform`. It has the interpreter's GIL as any other of its threads has,
which is what makes it safe to look at the others: `sys._current_frames()` would walk the threads of every interpreter
of the process, without their GILs.
"""

from __future__ import annotations

import sys

from . import _native
from ._errors import ChannelClosed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

type Frame = tuple[str, int, str]
"""File, line and function."""

type ThreadReport = tuple[int, bool, str | None, list[Frame], bool]
"""A thread's identity, whether it is the one that reports, its name, its frames, and whether there are more of them."""

type CoroutineReport = tuple[int, list[Frame]]
"""The number of the task that a coroutine belongs to, and where it stands."""

type Report = tuple[list[ThreadReport], list[CoroutineReport]]
"""Frames come innermost first."""


def perform() -> None:
    """Do what this thread was sent for: tell what the interpreter's threads do."""
    answer: _native.Sender[Report] = _native.take_errand()
    threads, coroutines = report()
    try:
        answer.send_nowait(([thread for thread in threads if not thread[1]], coroutines))
    except ChannelClosed:  # this interpreter kept its visitor waiting for too long
        pass


def report() -> Report:
    """What every thread of this interpreter executes right now, and the coroutines of async tasks beside them."""
    threads = _native.threads_here()
    names = _names()
    return [
        (ident, is_own, names.get(ident), frames, has_more)
        for ident, is_own, frames, has_more in reversed(threads)
        if frames
    ], list(_coroutines())


def _names() -> dict[int, str]:
    """The names of the threads that `threading` knows, without making it know more of them."""
    active: dict[int, Any] = getattr(sys.modules.get("threading"), "_active", {})
    return {ident: thread.name for ident, thread in list(active.items())}


def _coroutines() -> Iterator[CoroutineReport]:
    tasks: Any = sys.modules.get("atoll._async_tasks")
    loop = getattr(tasks, "_loop", None)
    for work in list(getattr(loop, "_tasks", ())):
        current = work.get_context().get(tasks.current)
        if current is not None and not work.done():
            yield current[0], _awaits(work.get_coro())


def _awaits(waiting: Any) -> list[Frame]:
    """Where a coroutine stands, and what it awaits, innermost first."""
    frames: list[Frame] = []
    while waiting is not None:
        frame = _first(waiting, ("cr_frame", "gi_frame", "ag_frame"))
        if frame is not None:
            frames.insert(0, (frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_qualname))
        waiting = _first(waiting, ("cr_await", "gi_yieldfrom", "ag_await"))
    return frames


def _first(of: Any, names: tuple[str, ...]) -> Any:
    return next((getattr(of, name) for name in names if hasattr(of, name)), None)

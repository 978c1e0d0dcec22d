"""The end of the process: stop every worker, join with a deadline, never hang, never crash.

Registered with `atexit` once, in the main interpreter only; other interpreters are ended by their hosts.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from . import _native

DEADLINE = 5.0
"""Seconds that tasks have to end after they were cancelled at exit."""

MAIN_HOST = 1
"""The main interpreter's host id."""

_last_words: list[Callable[[], None]] = []


def register(last_words: Callable[[], None]) -> None:
    """Have *last_words* called once the workers have stopped; the first call also registers the stop itself."""
    if _native.current_host() != MAIN_HOST:
        return
    if not _last_words:
        atexit.register(_shut_down, os.getpid())
    _last_words.append(last_words)


def _shut_down(owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked child has no workers of its own, and its parent's are none of its business
    threads, isolates = _native.shutdown(DEADLINE)
    for speak in _last_words:
        speak()
    if threads:
        _say_stuck(threads, "task")
        _leave()
    elif isolates:
        # They do not keep this interpreter from its end; the native side then leaves with the process's exit code.
        _say_stuck(isolates, "isolate")


def _say_stuck(number: int, what: str) -> None:
    they = f"1 {what} is" if number == 1 else f"{number} {what}s are"
    print(
        f"atoll: {they} still in C code {DEADLINE:g} s after being cancelled; leaving without a clean end",
        file=sys.stderr,
    )


def _leave() -> NoReturn:
    """End the process under threads that cannot be joined: ending their interpreters would crash, waiting would hang.

    `sys.exit`'s code is not to be had any more at this point: the code is 1 after an uncaught exception, else 0.
    """
    if (logging := sys.modules.get("logging")) is not None:
        logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(1 if hasattr(sys, "last_exc") else 0)

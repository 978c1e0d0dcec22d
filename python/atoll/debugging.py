"""What all interpreters of the process are doing: `dump`.

Every host is asked at the same time, by a thread that enters it for a moment; what it answers is text by then. A host
that does not let anybody in, because C code holds its GIL, is reported with what the engine knows of it.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from . import _native
from ._errors import AtollError, ChannelClosed

if TYPE_CHECKING:
    from typing import Protocol

    from ._visits import Frame, Report

    class Writable(Protocol):
        """What `print` writes to."""

        def write(self, text: str, /) -> object: ...


__all__ = ["dump"]

type _Waiting = _native.Receiver[Report]


class _Host(NamedTuple):
    id: int
    kind: str
    name: str
    state: str


def dump(file: Writable | None = None, *, timeout: float = 1.0) -> None:
    """Write what every thread of every host executes right now to *file*, by default `sys.stderr`.

    Works while hosts compute, wait in a verb, sleep, or are in C code that releases the GIL, and from any thread of any
    host. Blocks up to *timeout* seconds for hosts that let nobody in; of those only the tasks are told, and for how
    long they have been running. Raises ValueError or TypeError for a bad *timeout*, and what *file* raises.

        signal.signal(signal.SIGUSR1, lambda *_: atoll.dump())
    """
    own = _native.current_host()
    hosts, note = _hosts(own)
    deadline = time.monotonic() + _checked(timeout)
    asked = {host.id: _ask(host) for host in hosts if host.id != own}
    shown = [f"Atoll: what {len(hosts)} host{'s' if len(hosts) > 1 else ''} of process {os.getpid()} do{note}\n"]
    for host in hosts:
        waiting = asked.get(host.id)
        if host.id == own:
            from . import _visits

            report: Report | str = _without_this_module(_visits.report())
        elif waiting is None:
            report = f"it is {host.state}"
        else:
            report = _answer(waiting, deadline, timeout)
        shown.append(_shown(host, report))
    text = "\n".join(shown)
    if file is None:
        file = sys.stderr
    if file is not None:  # without a console there is no stderr
        file.write(text)
        getattr(file, "flush", lambda: None)()


def _checked(timeout: float) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"cannot wait with timeout={timeout!r} (a {type(timeout).__name__}); pass seconds")
    if not timeout >= 0:
        raise ValueError(f"cannot wait with timeout={timeout!r} (it is no time); pass seconds")
    return timeout


def _hosts(own: int) -> tuple[list[_Host], str]:
    try:
        return [_Host(*host[:4]) for host in sorted(_native.hosts())], ""
    except AtollError:
        return [_Host(own, "forked child", "this one", "ready")], " (a forked child: the others stayed with the parent)"


def _ask(host: _Host) -> _Waiting | None:
    """Send somebody in. None: there is nothing in it yet, or any more."""
    if host.state in ("starting", "ended"):
        return None
    channel: _native.Channel[Report] = _native.Channel(1)
    # Whoever carries the only sender gives it up in any case: then the channel closes.
    _native.send_visitor(host.id, channel.sender)
    return channel.receiver


def _answer(waiting: _Waiting, deadline: float, timeout: float) -> Report | str:
    try:
        return waiting.recv(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return f"it lets nobody in within {timeout:g} s: something in it holds its GIL"
    except ChannelClosed:
        return "it has just ended"


def _without_this_module(report: Report) -> Report:
    """Whoever asks is not shown asking."""
    threads, coroutines = report
    for _, is_own, _, frames, _ in threads:
        while is_own and frames and frames[0][0] in _ASKING:
            del frames[0]
    return threads, coroutines


_FOLDER = os.path.dirname(__file__)
_ASKING = (__file__, os.path.join(_FOLDER, "_visits.py"))
_AROUND_TASKS = tuple(os.path.join(_FOLDER, name) for name in ("_agent.py", "_rules.py", "_async_tasks.py"))
"""Files whose frames stand around every task."""


# The text --------------------------------------------------------------------------------------------------------


class _Task(NamedTuple):
    id: int
    name: str | None
    thread: int | None
    seconds: float

    def __str__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        return f"task {self.id}{name}, running for {self.seconds:.1f} s"


def _shown(host: _Host, report: Report | str) -> str:
    tasks = _tasks(host)
    lines = [f"Host {host.id} {host.name!r} ({host.kind}, {host.state})"]
    if isinstance(report, str):
        lines[0] += f": {report}"
        lines += [f"  {task}" for task in tasks]
    else:
        threads, coroutines = report
        by_thread = {task.thread: task for task in tasks if task.thread is not None}
        for ident, is_own, name, frames, has_more in threads:
            title = f"Thread 0x{ident:016x}" + (f" {name!r}" if name else "") + (" (this one)" if is_own else "")
            lines += _block(title, by_thread.get(ident), frames, has_more)
        by_number = {task.id: task for task in tasks}
        for number, frames in coroutines:
            lines += _block("Coroutine", by_number.get(number), frames, False)
    return "\n".join(lines) + "\n"


def _block(title: str, task: _Task | None, frames: list[Frame], has_more: bool) -> list[str]:
    theirs = list(frames)
    while theirs and theirs[-1][0] in _AROUND_TASKS:
        theirs.pop()
    if not theirs and task is None:
        return [f"  {title}: waits for a task"]
    what = f": {task}" if task is not None else ""
    shown = [f'    File "{file}", line {line}, in {function}' for file, line, function in theirs or frames]
    return [f"  {title}{what} (most recent call first)", *shown, *(["    ..."] if has_more else [])]


def _tasks(host: _Host) -> list[_Task]:
    try:
        return [_Task(*task) for task in _native.running_tasks(host.id)]
    except AtollError:  # a forked child
        return []

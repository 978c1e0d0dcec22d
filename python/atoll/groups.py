"""TaskGroup: tasks that end before the block that started them does."""

from __future__ import annotations

import enum
import functools
import sys
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import _exit, _native
from ._errors import AtollError, Cancellation, ChannelEmpty, TaskCancelled
from .tasks import Task

__all__ = ["TaskGroup"]

_BODY_LEFT = -1


class _FromItsFirstStep(property):
    """An `__exit__` that is C code to begin with: before the first step of a Python function a cancellation may strike.

    The block asks for it when it is entered, and gets what it will call.
    """

    def __call__(self, group: TaskGroup, *how: Any) -> None:
        """As `contextlib.ExitStack` calls it, which takes it from the class."""
        self.__get__(group)(*how)


class _State(enum.Enum):
    NEW = "was not entered; use `with atoll.TaskGroup() as group:`"
    OPEN = "open"
    ENDED = "has ended; open a new one"


class TaskGroup:
    """Tasks that belong together: the `with` block leaves when all of them have ended.

    The first task that fails cancels the others, and so does an exception in the body. After the end all their own
    errors (not the cancellations that followed) are raised together in an ExceptionGroup, a BaseExceptionGroup if one
    of them is no Exception. A KeyboardInterrupt or a Cancellation of the enclosing task cancels all and is raised as
    itself. Tasks may be spawned by the body and by other threads of it; groups nest.

    The body itself is not interrupted when a task fails while it still runs: its next `spawn` raises TaskCancelled,
    and what it waits for on cancelled tasks ends. A cancelled task that stays in C code for more than *patience*
    seconds is left behind, and an AtollError in the group says so; None waits for ever.

        with atoll.TaskGroup() as group:
            parts = [group.spawn(sum, chunk) for chunk in chunks]
        total = sum(part.result() for part in parts)
    """

    def __init__(self, *, patience: float | None = 5.0) -> None:
        if patience is not None and not patience >= 0:  # NaN is neither
            raise ValueError(f"cannot wait with patience={patience!r} (it must be 0 or more seconds); None is for ever")
        self._patience = patience
        self._state = _State.NEW
        self._lock = threading.Lock()
        self._ended: _native.Channel[int] = _native.Channel(None)
        self._live: dict[int, Task[Any]] = {}
        self._spawned = 0
        self._errors: list[BaseException] = []
        self._stopping = False
        self._stopped_at = 0.0
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._state is not _State.NEW:
            raise RuntimeError("cannot enter a task group twice; open a new one")
        self._state = _State.OPEN
        return self

    def spawn[T](
        self, fn: Callable[..., T], /, *args: Any, name: str | None = None, kind: str = "auto", **kwargs: Any
    ) -> Task[T]:
        """Run `fn(*args, **kwargs)` in another interpreter, of that *kind*, as a member of this group.

        Blocks only for a new worker to come up. Raises RuntimeError outside of the group's block, TaskCancelled once
        the group is being cancelled, and what `atoll.spawn` raises.

            group.spawn(crawl, url, channel.sender)
        """
        task = Task(fn, args, kwargs, name=name, kind=kind)
        # A cancellation that struck between the start and the note of it would leave a member that nobody ends.
        _native.shielded(self._admit, task)
        return task

    def _admit(self, task: Task[Any]) -> None:
        with self._lock:
            if self._state is not _State.OPEN:
                raise RuntimeError(f"cannot spawn {task.name} into a task group (it {self._state.value})")
            if self._stopping:
                raise TaskCancelled(f"cannot spawn {task.name} into a task group (it is being cancelled); leave it")
            task.start()
            task._asked = True  # the group asks
            token = self._spawned
            self._spawned += 1
            self._live[token] = task
            task._started("watch").notify(self._ended.sender, token)
            if self._watcher is None:
                self._watcher = _start_thread(_watch, weakref.ref(self), self._ended)

    if TYPE_CHECKING:

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None: ...
    else:

        @_FromItsFirstStep
        def __exit__(self) -> Callable[..., None]:
            return functools.partial(_native.shielded, self._leave)

    def _leave(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        interruption: BaseException | None = None
        if error is not None:
            follows_from_stop = self._stopping and isinstance(error, TaskCancelled)
            if not isinstance(error, Exception):
                interruption = error
            elif not follows_from_stop:
                self._errors.append(error)
            self._stop()
        try:
            try:
                if isinstance(interruption, Cancellation):
                    self._wait_elsewhere()
                else:
                    self._wait_for_all()
            except BaseException as interrupt:
                # Ctrl-C or a cancellation of our own task: stop the members and wait for them; a second Ctrl-C leaves.
                interruption = interrupt
                self._stop()
                self._wait_elsewhere()
        finally:
            self._state = _State.ENDED
        if interruption is not None:
            if interruption is error:
                return
            raise interruption
        if errors := list({id(one): one for one in self._errors}.values()):
            self._errors.clear()
            count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
            raise BaseExceptionGroup(f"{count} in a task group", errors) from None

    def __del__(self) -> None:
        # A KeyboardInterrupt may strike between the end of the body and the first instruction of `_leave`: nothing
        # can be waited for then, but nobody should go on for a group that is gone.
        if getattr(self, "_state", None) is _State.OPEN and not sys.is_finalizing():
            self._stop()
            self._ended.send_nowait(_BODY_LEFT)

    def _wait_for_all(self) -> None:
        """Take over from the watcher and see the rest of the tasks to their end."""
        self._end_watch()
        while self._live:
            try:
                token = self._ended.recv(self._seconds_left())
            except (TimeoutError, ChannelEmpty):
                self._leave_stuck_tasks()
            else:
                if token != _BODY_LEFT:
                    self._settle(token)

    def _wait_elsewhere(self) -> None:
        """`_wait_for_all` on a thread of its own: a cancelled task cannot block in a verb of Atoll any more."""
        self._end_watch()
        _start_thread(self._wait_for_all).join()

    def _end_watch(self) -> None:
        if self._watcher is not None:
            self._ended.send_nowait(_BODY_LEFT)
            self._watcher.join()
            self._watcher = None

    def _settle(self, token: int) -> None:
        task = self._live.pop(token)
        how, value = task._settle()
        if how in ("error", "died"):
            self._errors.append(value)
            self._stop()

    def _stop(self) -> None:
        """Cancel every member that still runs. Idempotent."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._stopped_at = time.monotonic()
            live = list(self._live.values())
        for task in live:
            task._started("cancel").cancel(0.0)

    def _seconds_left(self) -> float | None:
        if not self._stopping or self._patience is None:
            return None
        return max(0.0, self._stopped_at + self._patience - time.monotonic())

    def _leave_stuck_tasks(self) -> None:
        """The patience is over: give up those in C code, and wait as long as it takes for the others to clean up."""
        patience, self._patience = self._patience, None
        for token, task in list(self._live.items()):
            if not task.cancel():
                del self._live[token]
                self._errors.append(
                    AtollError(
                        f"cannot stop task {task.name!r} (it is in C code that has not returned for {patience:g} s); "
                        "it goes on alone"
                    )
                )


def _watch(group: weakref.ref[TaskGroup], ended: _native.Channel[int]) -> None:
    """While the body runs: a failure cancels the others at once, not only when the body is through."""
    try:
        while (token := ended.recv()) != _BODY_LEFT:
            if (alive := group()) is None:
                return
            alive._settle(token)
            del alive
    except (AtollError, Cancellation):
        return  # the host of this interpreter closes


def _start_thread(target: Callable[..., None], *args: Any) -> threading.Thread:
    # A sub-interpreter refuses daemon threads; there the group's end joins the thread before the task can end.
    in_main = _native.current_host() == _exit.MAIN_HOST
    thread = threading.Thread(target=target, args=args, name="atoll task group", daemon=in_main)
    thread.start()
    return thread

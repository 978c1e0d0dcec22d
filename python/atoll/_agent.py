"""What runs inside every host: take a job, do it, say how it ended, take the next.

`serve` is the main loop of each thread of a host. The thread waits for jobs without holding its interpreter, so an
idle host costs nothing. A job that fails ends only itself: not SystemExit, not KeyboardInterrupt, not a recursion
without end stops the loop.
"""

import os
import sys
import time

from . import _loading, _native
from ._errors import Cancellation, ChannelPoisoned

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from collections.abc import Callable
    from types import CodeType, CoroutineType, TracebackType
    from typing import Any

_OURS = (
    __file__,
    *[os.path.join(os.path.dirname(__file__), name) for name in ("_rules.py", "_async_tasks.py")],
)
"""Files whose frames begin every traceback and tell nobody anything."""


async def _nothing() -> None:
    pass


_coroutine = _nothing()
_COROUTINE: "type[Any]" = type(_coroutine)
"""`types.CoroutineType`, without the import of `types`."""
_coroutine.close()

_MOST_SOURCES = 64
_sources: dict[str, None] = {}

around_task: "Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any] | None" = None
"""In an isolate, what calls the functions of tasks."""


original_sleep = time.sleep
"""Python's own; `serve` puts one into its place that ends early when its task is cancelled or its host closes."""

if sys.breakpointhook is sys.__breakpointhook__:  # nobody has chosen another debugger
    sys.breakpointhook = _native.breakpointhook

_has_loop = False
"""Whether there has been an async task here."""


def serve() -> None:
    """Do the jobs of this thread's host until the host closes; the native side calls it on each thread it starts."""
    # Nothing ends the original early on any thread but an isolate's first.
    time.sleep = _native.sleep
    if around_task is None:
        _do_jobs()
    else:
        # An isolate's main thread serves one session after the other: each gets context variables of its own.
        from _contextvars import Context

        Context().run(_do_jobs)


def _do_jobs() -> None:
    while (job := _native.next_job()) is not None:
        _perform(job)
        del job
    if _has_loop and _native.host_closing():
        from . import _async_tasks  # another thread may be in the middle of this import

        _async_tasks.wait_for_end()
    _forget_thread()


def _perform(job: _native.Job) -> None:
    """Run one job; whatever happens, its waiters hear of it."""
    try:
        call = _prepare(job)
        value = job.run(*call) if around_task is None else job.run(around_task, call, {})
    except BaseException as error:
        end(job, error)
    else:
        if type(value) is _COROUTINE:
            del call
            _hand_over(job, value)
        else:
            succeed(job, value)


def _hand_over(job: _native.Job, body: "CoroutineType[Any, Any, Any]") -> None:
    """The function was an async one: its coroutine runs on the host's event loop."""
    global _has_loop
    _has_loop = True
    try:
        from . import _async_tasks

        _async_tasks.hand_over(job, body)
    except BaseException as error:
        body.close()
        end(job, error)


def coroutines_task() -> tuple[int, str | None, int] | None:
    """The task that the running coroutine belongs to: id, name, host."""
    variable = getattr(sys.modules.get("atoll._async_tasks"), "current", None)
    found: tuple[int, str | None, int] | None = None if variable is None else variable.get()
    return found


def succeed(job: _native.Job, value: object) -> None:
    """The task returned this value."""
    _flush()
    try:
        job.succeed(value)
    except BaseException as error:
        fail(job, error)


def end(job: _native.Job, error: BaseException) -> None:
    """The task ended by this: by its cancellation, or it failed."""
    # A loop may hear of its host's end before the engine has come to cancelling its tasks.
    asked_for = job.is_cancelled() or _native.host_closing()
    if isinstance(error, Cancellation) or (asked_for and _is_asyncios(error)):
        _release_frames(error)
        _flush()
        job.cancelled()
    else:
        fail(job, error)


def _is_asyncios(error: BaseException) -> bool:
    """Whether it is what asyncio makes of a cancellation."""
    asyncio: Any = sys.modules.get("asyncio.exceptions")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def _prepare(job: _native.Job) -> "tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]":
    """What to call, and with what.

    Happens before `Job.run`, so no cancellation is thrown into it: one that struck inside an import would leave the
    import's locks taken, and every later import in this interpreter would wait for ever.
    """
    how, target, ends, args, kwargs = job.payload()
    if how == "exec":
        return _execute, (_compile(target),), {}
    if how == "prepare":
        return vars(sys.modules["__main__"]).update, (kwargs,), {}
    return _loading.load(how, target, ends, job.function), args, kwargs


def _execute(code: "CodeType") -> None:
    exec(code, vars(sys.modules["__main__"]))


def _compile(source: str) -> "CodeType":
    """Compile *source*; its lines stay known, so that a traceback can show them."""
    import linecache

    name = f"<exec {hash(source) & 0xFFFF_FFFF:08x}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    # Functions that it defines may fail later, so the lines stay; those of the oldest sources go.
    _sources[name] = None
    if len(_sources) > _MOST_SOURCES:
        oldest = next(iter(_sources))
        _sources.pop(oldest, None)
        linecache.cache.pop(oldest, None)
    return compile(source, name, "exec")


def look(*_: object) -> None:
    """What an isolate does at the signal that ends a blocked call: on the way in here, a thrown exception is raised."""


def forget_sources() -> None:
    """Let go of the lines of all that was executed."""
    _sources.clear()


def fail(job: _native.Job, error: BaseException) -> None:
    """The task raised this error."""
    from . import _failures

    error.__traceback__ = _without_agent(error.__traceback__)
    blob = _failures.dump_failure(error)
    if isinstance(error, ChannelPoisoned):
        job.poison_ends(error.reason)
    _release_frames(error)
    _flush()
    job.fail(blob)


def _without_agent(trace: "TracebackType | None") -> "TracebackType | None":
    """The traceback from the first frame that is the user's."""
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename in _OURS:
        first = first.tb_next
    return first or trace


def _release_frames(error: BaseException) -> None:
    """Let go of the locals of the dead frames, so that the channel ends in them are gone before the task is done."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        trace = current.__traceback__
        while trace is not None:
            try:
                trace.tb_frame.clear()
            except RuntimeError:  # still running: the loop's own frames
                pass
            trace = trace.tb_next
        current.__traceback__ = None
        pending += (current.__cause__, current.__context__)


def _forget_thread() -> None:
    """Drop threading's record of this thread, made if a task asked for it, while the interpreter can still do so."""
    threading = sys.modules.get("threading")
    records = getattr(threading, "_thread_local_info", None)
    if records is not None:
        vars(records).clear()


def _flush() -> None:
    """What the task printed is out before anyone learns that it has ended."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass

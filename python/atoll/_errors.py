"""Every error that Atoll raises, under `AtollError`.

Each class says whose fault it is, has a stable `code`, and survives a clone and a pickle. Texts follow one
formula: cannot <verb> <object> (<why>); <what to do instead>. Running out of time is the built-in `TimeoutError`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._queue_errors import ChannelEmpty, ChannelFull

__all__ = [
    "AtollError",
    "Cancellation",
    "ChannelClosed",
    "ChannelEmpty",
    "ChannelFull",
    "ChannelPoisoned",
    "CloneError",
    "HostDied",
    "HostUnavailable",
    "RemoteTraceback",
    "TaskCancelled",
]


class AtollError(Exception):
    """The base of all errors of Atoll."""

    code: str = "atoll_error"


class ChannelClosed(AtollError, EOFError):
    """The channel, or the end used, was closed: nobody's fault, the normal end of a conversation.

    From `select`, `case` is the case that met it; from `send_many`, `sent` counts the messages that did go.
    """

    code = "channel_closed"
    case: object = None
    sent: int = 0


class ChannelPoisoned(AtollError):
    """Somebody poisoned the channel: the peer's fault. `reason` is what it said."""

    code = "channel_poisoned"
    case: object = None
    sent: int = 0

    def __init__(self, message: str = "", reason: object = None) -> None:
        super().__init__(message, reason)

    @property
    def reason(self) -> object:
        """What `poison(reason)` was given, cloned; None if nothing was."""
        return self.args[1]

    def __str__(self) -> str:
        return str(self.args[0])


class CloneError(AtollError, TypeError):
    """An object cannot be copied to another interpreter: the caller's fault, and `path` says where it sits.

    `type_name` is the culprit's type and `hint` what to send instead; `sent` counts what `send_many` sent before it.
    """

    code = "clone_error"
    sent: int = 0

    def __init__(self, path: str, type_name: str, hint: str = "") -> None:
        super().__init__(path, type_name, hint)

    @property
    def path(self) -> str:
        """Where the culprit sits in what was sent, as Python would write it: `jobs[3].source`."""
        return str(self.args[0])

    @property
    def type_name(self) -> str:
        """The culprit's type."""
        return str(self.args[1])

    @property
    def hint(self) -> str:
        """What to send instead; may be empty."""
        return str(self.args[2])

    def __str__(self) -> str:
        text = f"cannot clone {self.path} ({self.type_name})"
        return f"{text}; {self.hint}" if self.hint else text


class HostUnavailable(AtollError):
    """No host of the wanted kind can be started here: the machine's limits, or this release's."""

    code = "host_unavailable"


class HostDied(AtollError):
    """The host that ran the task ended under it: nobody's fault that the caller could have avoided."""

    code = "host_died"


class RemoteTraceback(AtollError):
    """The traceback of an exception where it was raised, as text: only ever the cause of that exception."""

    code = "remote_traceback"

    def __str__(self) -> str:
        return "\n" + "".join(str(argument) for argument in self.args)


class TaskCancelled(AtollError):
    """Somebody waited for the result of a task that was cancelled."""

    code = "task_cancelled"


class Cancellation(BaseException):
    """What a cancelled task finds raised in its code, so that it can clean up. Do not raise it, do not swallow it.

    Not an `AtollError` and not an `Exception`, so that `except Exception` lets it pass.
    """

    code: str = "cancellation"


def __getattr__(name: str) -> type[AtollError]:
    if name not in ("ChannelEmpty", "ChannelFull"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _queue_errors

    found: type[AtollError] = getattr(_queue_errors, name)
    globals()[name] = found
    return found

"""Many Pythons, one process: interpreters that run in parallel, and fast channels between them.

    map, run, spawn          run functions in other interpreters      mapping.py, tasks.py
    Task, TaskGroup          their handles, alone and in groups       tasks.py, groups.py
    running                  the task that this code runs in          tasks.py
    Pool, worker_state       an executor of concurrent.futures        pool.py
    Channel                  typed FIFO between tasks on any hosts    channels.py
    Sender, Receiver         its two ends, themselves messages        channels.py
    select, after            wait for several channels at once        channels.py
    aselect                  the same in asyncio                      aio.py
    Interpreter, list_hosts  a host of one's own, all the hosts       interpreters.py
    capabilities             what this machine can do, and why not    interpreters.py
    clone, register          the copy that another interpreter gets   cloning.py
    explain                  what would become of an object, and why  explaining.py
    AtollError and below     every error                              _errors.py
    python -m atoll          the command line                         cli/

What only some programs use is imported when it is first asked for, so that `import atoll` stays cheap.
"""

from ._errors import (
    AtollError,
    Cancellation,
    ChannelClosed,
    ChannelEmpty,
    ChannelFull,
    ChannelPoisoned,
    CloneError,
    HostDied,
    HostUnavailable,
    RemoteTraceback,
    TaskCancelled,
)
from .channels import (
    AfterCase,
    Channel,
    ChannelStats,
    Receiver,
    SendCase,
    Sender,
    after,
    select,
)
from .cloning import clone, register

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .aio import aselect
    from .explaining import Explanation, explain
    from .groups import TaskGroup
    from .interpreters import Interpreter, capabilities, list_hosts
    from .mapping import map
    from .pool import BrokenPool, Pool, PoolStats, worker_state
    from .tasks import Task, run, running, spawn

__all__ = [
    # functions in other interpreters
    "map", "run", "spawn", "Task", "TaskGroup", "running",
    # pools
    "Pool", "PoolStats", "worker_state", "BrokenPool",
    # channels
    "Channel", "Sender", "Receiver", "ChannelStats", "select", "SendCase", "after", "AfterCase", "aselect",
    # messages
    "clone", "register", "explain", "Explanation",
    # hosts
    "Interpreter", "list_hosts", "capabilities",
    # errors
    "AtollError", "Cancellation", "ChannelClosed", "ChannelEmpty", "ChannelFull", "ChannelPoisoned", "CloneError",
    "HostDied", "HostUnavailable", "RemoteTraceback", "TaskCancelled",
]  # fmt: skip

_HOMES = {
    "BrokenPool": "pool",
    "Explanation": "explaining",
    "Interpreter": "interpreters",
    "Pool": "pool",
    "PoolStats": "pool",
    "Task": "tasks",
    "TaskGroup": "groups",
    "aselect": "aio",
    "capabilities": "interpreters",
    "explain": "explaining",
    "list_hosts": "interpreters",
    "map": "mapping",
    "run": "tasks",
    "running": "tasks",
    "spawn": "tasks",
    "worker_state": "pool",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'atoll' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"atoll.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

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
    get_include              where atoll.h is, for extension types    cloning.py
    explain                  what would become of an object, and why  explaining.py
    dump                     what every thread of every host does     debugging.py
    AtollError and below     every error                              _errors.py
    python -m atoll          the command line                         cli/

What only some programs use is imported when it is first asked for, so that `import atoll` stays cheap.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    from .aio import aselect
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
    from .cloning import clone, get_include, register
    from .debugging import dump
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
    "clone", "register", "get_include", "explain", "Explanation",
    # hosts
    "Interpreter", "list_hosts", "capabilities",
    # debugging
    "dump",
    # errors
    "AtollError", "Cancellation", "ChannelClosed", "ChannelEmpty", "ChannelFull", "ChannelPoisoned", "CloneError",
    "HostDied", "HostUnavailable", "RemoteTraceback", "TaskCancelled",
]  # fmt: skip

_HOMES = {
    "AfterCase": "channels",
    "AtollError": "_errors",
    "BrokenPool": "pool",
    "Cancellation": "_errors",
    "Channel": "channels",
    "ChannelClosed": "_errors",
    "ChannelEmpty": "_errors",
    "ChannelFull": "_errors",
    "ChannelPoisoned": "_errors",
    "ChannelStats": "channels",
    "CloneError": "_errors",
    "Explanation": "explaining",
    "HostDied": "_errors",
    "HostUnavailable": "_errors",
    "Interpreter": "interpreters",
    "Pool": "pool",
    "PoolStats": "pool",
    "Receiver": "channels",
    "RemoteTraceback": "_errors",
    "SendCase": "channels",
    "Sender": "channels",
    "Task": "tasks",
    "TaskCancelled": "_errors",
    "TaskGroup": "groups",
    "after": "channels",
    "aselect": "aio",
    "capabilities": "interpreters",
    "clone": "cloning",
    "dump": "debugging",
    "explain": "explaining",
    "get_include": "cloning",
    "list_hosts": "interpreters",
    "map": "mapping",
    "register": "cloning",
    "run": "tasks",
    "running": "tasks",
    "select": "channels",
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

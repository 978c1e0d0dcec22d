"""Channels between tasks in any interpreters, their two ends, and `select` over several of them.

The classes and functions are native; their documentation is theirs (`help(atoll.Channel)`), their types are in
`_native.pyi`.
"""

from ._native import (
    AfterCase,
    Channel,
    ChannelStats,
    Receiver,
    SendCase,
    Sender,
    after,
    select,
)

__all__ = [
    "AfterCase",
    "Channel",
    "ChannelStats",
    "Receiver",
    "SendCase",
    "Sender",
    "after",
    "select",
]

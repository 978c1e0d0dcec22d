"""The errors of the verbs that do not wait, which are errors of `queue`, too.

They belong to `atoll._errors`, which imports them when somebody asks for one: `queue` brings `threading`, `collections`
and more, 3 ms of every new interpreter's start.
"""

import queue

from ._errors import AtollError

__all__ = ["ChannelEmpty", "ChannelFull"]


class ChannelFull(AtollError, queue.Full):
    """A send that does not wait found no room: nobody's fault."""

    __module__ = "atoll._errors"
    code = "channel_full"
    sent: int = 0


class ChannelEmpty(AtollError, queue.Empty):
    """A receive that does not wait found no message: nobody's fault."""

    __module__ = "atoll._errors"
    code = "channel_empty"

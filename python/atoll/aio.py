"""`aselect`: waiting for several channels at once in asyncio. The other asynchronous verbs are methods of the ends."""

from __future__ import annotations

from typing import Any, overload

from . import _asyncio
from ._asyncio import MISSING
from ._native import AfterCase, Channel, Receiver, SendCase

__all__ = ["aselect"]

type _Case = Channel[Any] | Receiver[Any] | SendCase[Any] | AfterCase


@overload
async def aselect[T](*cases: Channel[T] | Receiver[T], timeout: float | None = None) -> tuple[object, T]: ...
@overload
async def aselect(*cases: _Case, timeout: float | None = None) -> tuple[object, Any]: ...
@overload
async def aselect[D](*cases: _Case, default: D, timeout: float | None = None) -> tuple[object, Any | D]: ...
async def aselect(*cases: Any, default: Any = MISSING, timeout: float | None = None) -> tuple[object, Any]:
    """Wait until one of the cases can go on, do it, and return (case, value), as `select` does.

    Waits without a thread and blocks nobody. If it is cancelled, no case took effect; if it returns, exactly one did.
    Raises what `select` raises, and RuntimeError where no asyncio event loop runs.

        case, value = await atoll.aselect(jobs, results.sending(42), atoll.after(0.5))
    """
    return await _asyncio.aselect(cases, default, timeout)

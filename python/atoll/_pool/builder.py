"""Who does what takes its time, so that nobody waits for it: starting hosts, and closing them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from .client import in_thread


class Builder:
    """A thread that lives as long as there are orders for it, and obeys one after the other."""

    def __init__(self, name: str, idle: Callable[[], object]) -> None:
        self._name = name
        self._idle = idle
        self._orders: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether there are orders, or one is being obeyed."""
        return self._thread is not None or bool(self._orders)

    def order(self, work: Callable[..., None], *args: object) -> None:
        """Have `work(*args)` done, and `idle()` called when nothing is left to do."""
        self._orders.append(lambda: work(*args))
        with self._lock:
            if self._thread is not None:
                return
            self._thread = thread = in_thread(self._obey, self._name)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is on its way out: no more threads
            self._obey()

    def _obey(self) -> None:
        while True:
            try:
                order = self._orders.popleft()
            except IndexError:
                with self._lock:
                    if self._orders:
                        continue
                    self._thread = None
                break
            order()
        self._idle()

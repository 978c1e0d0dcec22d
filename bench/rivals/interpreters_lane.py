"""The standard library's interpreters and their queue.

`concurrent.interpreters` from CPython 3.14 on. CPython 3.13 has the same machinery without a public face, so there a
few lines do what that face does: the same calls, and the same wait of 10 ms when the queue is empty or full.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from typing import Any

from bench.peers import JOBS
from bench.rivals.lane import Lane

PUBLIC = sys.version_info >= (3, 14)


class PlainQueue:
    """CPython 3.13: what `concurrent.interpreters.Queue` became, over the private module."""

    _SHARED, _PICKLED, _UNBOUND, _DELAY = 0, 1, 3, 0.01

    def __init__(self, identity: int | None = None) -> None:
        import pickle

        self._queues = importlib.import_module("_interpqueues")
        self._shareable = importlib.import_module("_interpreters").is_shareable
        self._pickle = pickle
        self._empty: Any = self._queues.QueueError
        if identity is None:
            identity = self._queues.create(0, self._SHARED, self._UNBOUND)
        self.id: int = identity
        self._queues.bind(self.id)

    def put(self, message: Any) -> None:
        """Send; what cannot be shared is pickled."""
        if self._shareable(message):
            self._queues.put(self.id, message, self._SHARED, self._UNBOUND)
        else:
            self._queues.put(self.id, self._pickle.dumps(message), self._PICKLED, self._UNBOUND)

    def get(self) -> Any:
        """Take the next message, looking every 10 ms."""
        while True:
            try:
                message, form, _ = self._queues.get(self.id)
            except self._empty:
                time.sleep(self._DELAY)
            else:
                return self._pickle.loads(message) if form == self._PICKLED else message


def serve(job: str, count: int, inbox: int, outbox: int) -> None:
    """The other side, in another interpreter (CPython 3.13)."""
    JOBS[job](PlainQueue(inbox).get, PlainQueue(outbox).put, count)


def serve_public(job: str, count: int, inbox: Any, outbox: Any) -> None:
    """The other side, in another interpreter (CPython 3.14 on)."""
    JOBS[job](inbox.get, outbox.put, count)


class InterpretersLane(Lane):
    """Two queues and a thread that has another interpreter run the job."""

    def __init__(self) -> None:
        self._out, self._back = make_queue(), make_queue()
        self.put = self._out.put
        self.get = self._back.get
        if PUBLIC:
            self._interpreter = importlib.import_module("concurrent.interpreters").create()
        else:
            self._interpreter = importlib.import_module("_interpreters").create()

    def launch(self, job: str, count: int) -> None:
        if PUBLIC:
            self._thread = self._interpreter.call_in_thread(serve_public, job, count, self._out, self._back)
            return
        module = importlib.import_module("_interpreters")
        source = (
            "from bench.rivals.interpreters_lane import serve; "
            f"serve({job!r}, {count}, {self._out.id}, {self._back.id})"
        )
        self._thread = threading.Thread(target=module.exec, args=(self._interpreter, source))
        self._thread.start()

    def finish(self) -> None:
        self._thread.join()


def make_queue() -> Any:
    """A new, unbounded queue."""
    if PUBLIC:
        return importlib.import_module("concurrent.interpreters").create_queue()
    return PlainQueue()

"""`atoll.compat.interpreters`: the standard library's program with another import."""

from __future__ import annotations

from atoll.compat import interpreters
from bench.rivals.interpreters_lane import serve_public
from bench.rivals.lane import Lane


class CompatLane(Lane):
    """Two queues and a thread that has another interpreter run the job."""

    def __init__(self) -> None:
        self._out, self._back = interpreters.create_queue(), interpreters.create_queue()
        self.put = self._out.put
        self.get = self._back.get
        self._interpreter = interpreters.create()

    def launch(self, job: str, count: int) -> None:
        self._thread = self._interpreter.call_in_thread(serve_public, job, count, self._out, self._back)

    def finish(self) -> None:
        self._thread.join()

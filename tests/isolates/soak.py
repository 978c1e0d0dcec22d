"""A long mixed load on four isolates: `python -m tests.isolates.soak SECONDS`.

Every job's answer is compared with the one that main computed. Meanwhile main forks and starts processes and changes
its environment, tasks are cancelled in loops, sleeps and lock waits, and sessions are closed, some under load, and
opened again. Ends with one line of summary; exits with 1 if an answer was wrong, something failed, or memory grew.
"""

from __future__ import annotations

import faulthandler
import os
import random
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.isolates import soak_jobs

import atoll

ISOLATES = 4
MOST_GROWTH_MB = 20.0
"""Between the second quarter and the last; arenas of malloc breathe by some MB."""


class Tally:
    """What happened, counted by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.jobs = [0] * ISOLATES
        self.counts = dict.fromkeys(("cancelled", "sessions", "forks"), 0)
        self.bad: list[str] = []

    def count(self, what: str) -> None:
        """One more of these."""
        with self._lock:
            self.counts[what] += 1

    def complain(self, text: str) -> None:
        """Something went wrong."""
        with self._lock:
            self.bad.append(text)


def jobs() -> dict[str, Callable[[int], Any]]:
    """The jobs whose packages are here."""
    return {job.__name__: job for job, needed in soak_jobs.JOBS.items() if all(map(find_spec, needed))}


def drive(number: int, end: float, expected: dict[tuple[str, int], Any], tally: Tally) -> None:
    """Give one isolate job after job, and now and then a new session."""
    choose = random.Random(number)
    known = jobs()
    host = atoll.Interpreter(kind="isolate")
    while time.monotonic() < end:
        name, seed = choose.choice(list(expected))
        try:
            answer = host.call(known[name], seed)
            if answer != expected[name, seed]:
                tally.complain(f"{name}({seed}) is {answer!r:.200} instead of {expected[name, seed]!r:.200}")
        except BaseException as error:
            tally.complain(f"{name}({seed}): " + "".join(traceback.format_exception(error)))
        tally.jobs[number] += 1
        if choose.random() < 0.02:
            if choose.random() < 0.5:
                close_under_load(host, tally)
            else:
                host.close()
            host = atoll.Interpreter(kind="isolate")
            tally.count("sessions")
    host.close()


def close_under_load(host: atoll.Interpreter, tally: Tally) -> None:
    """Close a session in which code runs."""
    started = atoll.Channel[int](1)

    def call() -> None:
        with suppress(atoll.AtollError):
            host.call(soak_jobs.spin, started.sender)
            tally.complain("a loop came to an end by itself")

    thread = threading.Thread(target=call)
    thread.start()
    started.recv(timeout=60)
    host.close(30)
    thread.join(30)
    if thread.is_alive():
        tally.complain("a call did not return when its session was closed")


def cancel(end: float, tally: Tally) -> None:
    """Cancel tasks wherever they wait."""
    choose = random.Random(99)
    while time.monotonic() < end:
        work = choose.choice(soak_jobs.ENDLESS)
        started = atoll.Channel[int](1)
        task = atoll.spawn(work, started.sender, kind="isolate")
        try:
            started.recv(timeout=60)
            time.sleep(choose.random() * 0.02)
            task.cancel()
            task.join(30)
            if not task.cancelled():
                tally.complain(f"{work.__name__} was not cancelled: {task!r}")
        except BaseException as error:
            tally.complain(f"{work.__name__}: " + "".join(traceback.format_exception(error)))
        tally.count("cancelled")


def fork(turn: int, tally: Tally) -> None:
    """What main does meanwhile: a forked child, a child process, a larger environment."""
    child = os.fork()
    if child == 0:
        blocks = [{"a": number} for number in range(5000)]
        os._exit(len(blocks) % 2)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:
        tally.complain(f"a forked child ended with {code}")
    os.environ[f"SOAK_{turn % 500}"] = "v" * 40
    subprocess.run(["true"], check=True)
    tally.count("forks")


def resident_mb() -> float:
    """The memory of this process. The proportional set size would fall whenever a forked child shares the pages."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def warm_up(expected: dict[tuple[str, int], Any]) -> None:
    """Import everything everywhere: memory is to be flat after that."""
    known = jobs()
    hosts = [atoll.Interpreter(kind="isolate") for _ in range(ISOLATES)]

    def run_all(host: atoll.Interpreter) -> None:
        for name in known:
            host.call(known[name], 0)

    threads = [threading.Thread(target=run_all, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for host in hosts:
        host.close()
    for name, job in known.items():
        for seed in range(3):
            expected[name, seed] = job(seed)


def main() -> None:
    """Soak for so many seconds, and say how it went."""
    warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads is the point
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 200.0
    faulthandler.dump_traceback_later(seconds + 150, exit=True)
    expected: dict[tuple[str, int], Any] = {}
    warm_up(expected)
    tally = Tally()
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=drive, args=(number, end, expected, tally)) for number in range(ISOLATES)]
    threads.append(threading.Thread(target=cancel, args=(end, tally)))
    for thread in threads:
        thread.start()
    memory: list[float] = []
    turn = 0
    while time.monotonic() < end:
        fork(turn, tally)
        memory.append(resident_mb())
        turn += 1
        time.sleep(0.2)
    for thread in threads:
        thread.join(100)
        if thread.is_alive():
            tally.complain(f"{thread.name} hangs")
            faulthandler.dump_traceback()

    quarter = max(1, len(memory) // 4)
    # The least of each quarter: what jobs hold for a moment comes on top of it.
    quarters = [min(memory[start : start + quarter]) for start in range(0, 4 * quarter, quarter) if memory[start:]]
    grown = quarters[-1] - quarters[min(1, len(quarters) - 1)] > MOST_GROWTH_MB
    for text in tally.bad[:10]:
        print(text, file=sys.stderr)
    print(
        f"soak {seconds:g} s: {sum(tally.jobs):,} jobs in {ISOLATES} isolates, {tally.counts['cancelled']:,} "
        f"cancellations, {tally.counts['sessions']:,} sessions closed and opened, {tally.counts['forks']:,} forks: "
        f"{len(tally.bad)} bad; memory by quarters {' '.join(f'{value:.0f}' for value in quarters)} MB"
        f"{', which is growth' if grown else ''}",
        flush=True,
    )
    sys.exit(bool(tally.bad or grown))


if __name__ == "__main__":
    main()

"""Creating, using and closing sub-interpreters leaves nothing behind that CPython itself does not leave behind.

CPython 3.13 keeps the memory arenas of every ended interpreter (1.6 MB each); 3.14 gives them back. So Atoll's cycle is
measured beside the bare one, `_interpreters.create/exec/destroy` with the same modules of the standard library.

`ATOLL_LEAK_CYCLES=2000` makes the run long enough to see a few bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

CYCLES = int(os.environ.get("ATOLL_LEAK_CYCLES", "120"))
SLACK_KB = 4 + 4000 / CYCLES
"""What the allocator's own ups and downs may add to a cycle; less with more cycles."""

OWN_KB = 250 if sys.version_info < (3, 14) else 0
"""What Atoll's own modules take in an interpreter, which CPython 3.13 keeps with the rest."""

MEASURE = """
import os

def resident_kb():
    with open("/proc/self/smaps_rollup") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))

def threads():
    return len(os.listdir("/proc/self/task"))

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def measure(cycle, cycles):
    for _ in range(10):
        cycle()
    before = resident_kb(), threads(), descriptors()
    for _ in range(cycles):
        cycle()
    print((resident_kb() - before[0]) / cycles, threads() - before[1], descriptors() - before[2])
"""

OURS = """
import atoll

def task(channel):
    channel.send("here")
    return 42

def cycle():
    channel = atoll.Channel(1)
    with atoll.Interpreter(kind="interpreter") as host:
        assert host.call(task, channel) == 42
        host.exec("x = [1, 2, 3]")
    assert channel.recv() == "here"
"""

BARE = """
import _interpreters
import atoll  # the same process around it

with atoll.Interpreter(kind="interpreter") as host:
    modules = host.call(lambda: [name for name in __import__("sys").modules if not name.startswith(("atoll", "__m"))])

def cycle():
    interpreter = _interpreters.create("isolated")
    failed = _interpreters.exec(interpreter, f"import sys\\nfor name in {modules!r}: __import__(name)\\nx = [1, 2, 3]")
    assert failed is None, failed
    _interpreters.destroy(interpreter)
"""


def growth(cycle: str) -> tuple[float, int, int]:
    """Kilobytes that a cycle leaves behind, threads and descriptors that all cycles leave behind."""
    source = f"{MEASURE}\n{cycle}\nmeasure(cycle, {CYCLES})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run(
        [sys.executable, "-c", source],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60 + CYCLES,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    kilobytes, threads, descriptors = child.stdout.split()
    return float(kilobytes), int(threads), int(descriptors)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("kind", ["interpreter"])  # isolates are not closed; tests/isolates/test_sessions.py is theirs
def test_interpreters_leave_no_more_behind_than_the_bare_c_api_does(
    kind: str,
    record_property: Callable[[str, object], None],
) -> None:
    ours, threads, descriptors = growth(OURS)
    bare, _, _ = growth(BARE)
    record_property("kilobytes_per_cycle", {"atoll": ours, "bare": bare, "cycles": CYCLES})
    print(f"\nleft behind per cycle: atoll {ours:.1f} KB, bare {bare:.1f} KB ({CYCLES} cycles)")
    assert threads <= 2  # the last ones may still be on their way out
    assert descriptors <= 0
    assert ours <= bare * 1.1 + OWN_KB + SLACK_KB

"""What every part of the suite may ask for: child processes, and waits that fail instead of hanging.

Functions of test modules travel to other interpreters by value, as those of `__main__` do; keep them free of pytest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cloudpickle
import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every child of these tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)

PATIENCE = 30.0
"""Seconds after which a wait of a test counts as hung. Generous: the machines of CI are busy."""


class Child:
    """A Python process that runs a script and may be talked to while it does."""

    def __init__(self, script: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONFAULTHANDLER": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def wait_for_line(self, text: str) -> None:
        """Read the child's output up to the line *text*."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == text:
                return
        pytest.fail(f"the child ended without saying {text!r}:\n{self.end()[2]}")

    def wait_until_blocked(self) -> None:
        """Wait until the child's main thread sleeps in the kernel, as a thread in a blocking verb does."""
        status = Path(f"/proc/{self.process.pid}/stat")
        deadline = time.monotonic() + PATIENCE
        asleep = 0
        while asleep < 5 and time.monotonic() < deadline:
            # The state follows the name, which is in parentheses and may hold anything.
            state = status.read_text().rpartition(")")[2].split()[0]
            asleep = asleep + 1 if state == "S" else 0
            threading.Event().wait(0.005)

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        """Wait for the child; its exit code, the rest of its output, its errors."""
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # faulthandler shows where it hangs
            out, err = self.process.communicate()
            pytest.fail(f"the child hung:\n{out}\n{err}")
        assert "Fatal Python error" not in err, err
        assert "panicked" not in err, err
        return self.process.returncode, out, err

    def kill(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture(autouse=True, scope="module")
def send_functions_of_the_module_by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """Other interpreters need not import the test module, and with it pytest, to call its functions."""
    cloudpickle.register_pickle_by_value(request.module)
    yield
    cloudpickle.unregister_pickle_by_value(request.module)


@pytest.fixture
def start_child(tmp_path: Path) -> Iterator[Callable[[str], Child]]:
    """Start a Python child with this source; it is gone at the end of the test."""
    children: list[Child] = []

    def start(source: str) -> Child:
        script = tmp_path / f"child_{len(children)}.py"
        script.write_text(textwrap.dedent(source))
        children.append(Child(script))
        return children[-1]

    yield start
    for child in children:
        child.kill()


@pytest.fixture
def run_child(start_child: Callable[[str], Child]) -> Callable[[str], tuple[int, str, str]]:
    """Run a Python child to its end: exit code, output, errors."""
    return lambda source: start_child(source).end()

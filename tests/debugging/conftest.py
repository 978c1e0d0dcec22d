"""Programs at a real terminal, whose debuggers are talked to."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.kinds import KINDS, skip_unless_available

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>()][0-9A-Z]?|\r|\x07")
SECONDS = 30.0
CTRL_C, CTRL_D = "\x03", "\x04"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of host."""
    found: str = request.param
    skip_unless_available(found)
    return found


class Terminal:
    """A program that has a terminal of its own, and somebody who sits at it."""

    def __init__(self, script: Path, environment: dict[str, str]) -> None:
        try:
            self._ours, theirs = pty.openpty()
        except OSError as error:  # no /dev/pts in this root
            pytest.skip(f"no terminal here: {error}")
        self._seen = ""
        self.transcript = ""
        self._program = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "dumb", "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
            # A session of its own, with this terminal: Ctrl-C reaches it, and nobody else.
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )
        os.close(theirs)

    def until(self, text: str) -> str:
        """Read up to and with *text*; what came before it since the last time."""
        end = time.monotonic() + SECONDS
        while text not in self._seen:
            new = self._read(end)
            assert new, f"no {text!r} in\n{self.transcript}"
            self._seen += new
        before, _, self._seen = self._seen.partition(text)
        return before

    def shows(self, text: str) -> None:
        """Read on until *text* has come since the start, and forget what came with it."""
        end = time.monotonic() + SECONDS
        while text not in self.transcript:
            assert self._read(end), f"no {text!r} in\n{self.transcript}"
        self._seen = ""

    def prompt(self, who: str) -> str:
        """Read up to the prompt of the debugger of *who*; what came before it."""
        return self.until(f"(Pdb {who}) ")

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def enter(self, line: str) -> None:
        self.type(line + "\n")

    def is_silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing more comes for that time."""
        return not self._seen and not self._read(time.monotonic() + seconds)

    def end(self) -> int:
        """Read to the end of the program; its exit code."""
        while new := self._read(time.monotonic() + SECONDS):
            self._seen += new
        return self._program.wait(SECONDS)

    def rest(self) -> str:
        """What was read and not looked at."""
        rest, self._seen = self._seen, ""
        return rest

    def _read(self, end: float) -> str:
        """What the terminal shows next; nothing if it shows nothing until *end*, or never again."""
        ready, _, _ = select.select([self._ours], [], [], max(0.0, end - time.monotonic()))
        try:
            new = os.read(self._ours, 65536) if ready else b""
        except OSError:  # the program has closed its side
            new = b""
        text = ESCAPES.sub("", new.decode(errors="replace"))
        self.transcript += text
        return text

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        self._program.kill()
        self._program.wait()
        os.close(self._ours)


@pytest.fixture
def at_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start a program with this source at a terminal of its own."""
    terminals: list[Terminal] = []

    def start(source: str, **environment: str) -> Terminal:
        script = tmp_path / f"program_{len(terminals)}.py"
        script.write_text(textwrap.dedent(source))
        terminals.append(Terminal(script, environment))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()

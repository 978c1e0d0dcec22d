"""What is typed at Python's own prompts works in other interpreters: a real terminal, both of Python's REPLs."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>()][0-9A-Z]?|\r|\x07")
SECONDS = 30.0


class Prompt:
    """A Python at a terminal."""

    def __init__(self, basic: bool) -> None:
        self.is_basic = basic
        try:
            main, terminal = pty.openpty()
        except OSError as error:  # no /dev/pts in this root
            pytest.skip(f"no terminal here: {error}")
        self._terminal = main
        environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "PYTHON_HISTORY": os.devnull}
        if basic:
            environment["PYTHON_BASIC_REPL"] = "1"
        self._python = subprocess.Popen(
            [sys.executable, "-q", "-i"], stdin=terminal, stdout=terminal, stderr=terminal, env=environment
        )
        os.close(terminal)
        self._number = 0
        self("import atoll")

    def __call__(self, source: str) -> str:
        """Type *source*; what came out before a mark that is typed after it."""
        self._number += 1
        for line in source.splitlines():
            os.write(self._terminal, line.encode() + b"\r")
        if "\n" in source:
            os.write(self._terminal, b"\r")
        os.write(self._terminal, f"print('mark', {self._number} + 1000)\r".encode())
        return self._until(f"mark {self._number + 1000}")

    def _until(self, mark: str) -> str:
        end = time.monotonic() + SECONDS
        seen = b""
        while mark not in (text := ESCAPES.sub("", seen.decode(errors="replace"))):
            new = self._read(end)
            assert new, f"no {mark!r} in {text!r}"
            seen += new
        return text

    def _read(self, end: float) -> bytes:
        """What the terminal shows next; nothing if it shows nothing until *end*."""
        ready, _, _ = select.select([self._terminal], [], [], max(0.0, end - time.monotonic()))
        return os.read(self._terminal, 65536) if ready else b""

    def close(self) -> int:
        """Leave as a user does; the exit code."""
        os.write(self._terminal, b"exit()\r")
        try:
            while self._read(time.monotonic() + SECONDS):
                pass
        except OSError:  # the other side has closed the terminal
            pass
        try:
            return self._python.wait(SECONDS)
        finally:
            self._python.kill()
            os.close(self._terminal)


@pytest.fixture(params=["basic", "new"])
def prompt(request: pytest.FixtureRequest) -> Iterator[Prompt]:
    prompt = Prompt(request.param == "basic")
    yield prompt
    assert prompt.close() == 0


def test_a_function_typed_at_a_prompt_works_is_redefined_and_works_again(prompt: Prompt, kind: str) -> None:
    prompt("def double(n): return 2 * n\n")
    assert "got 42 !" in prompt(f"print('got', atoll.run(double, 21, kind={kind!r}), '!')")

    prompt("def double(n): return 2 * n + 1\n")
    assert "got 43 !" in prompt(f"print('got', atoll.run(double, 21, kind={kind!r}), '!')")


def test_a_class_typed_at_a_prompt_works_is_redefined_and_works_again(prompt: Prompt, kind: str) -> None:
    prompt("class Thing: size = 1\n")
    prompt("def look(): return Thing().size\n")
    assert "got 1 !" in prompt(f"print('got', atoll.run(look, kind={kind!r}), '!')")

    prompt("class Thing: size = 2\n")
    assert "got 2 !" in prompt(f"print('got', atoll.run(look, kind={kind!r}), '!')")


def test_an_error_of_a_function_typed_at_a_prompt_shows_where_it_was(prompt: Prompt, kind: str) -> None:
    prompt("def fail(): raise ValueError('typed')\n")
    shown = prompt(f"atoll.run(fail, kind={kind!r})")

    assert "ValueError: typed" in shown
    assert "in fail" in shown
    if not prompt.is_basic:  # whose input all has one name: <stdin>
        assert shown.rindex("def fail(): raise ValueError('typed')") > shown.index(
            "in fail"
        )  # the line, not the typing


def test_ctrl_c_at_a_prompt_ends_the_call_and_not_the_python(prompt: Prompt, kind: str) -> None:
    prompt("begun = atoll.Channel()")
    prompt("def wait(): begun.send(1); atoll.Channel().recv()\n")
    prompt("import os, signal, threading")
    prompt("def interrupt(): begun.recv(); os.kill(os.getpid(), signal.SIGINT)\n")
    prompt("threading.Thread(target=interrupt).start()")
    assert "KeyboardInterrupt" in prompt(f"atoll.run(wait, kind={kind!r})")

    assert "got 3 !" in prompt(f"print('got', atoll.run(len, 'abc', kind={kind!r}), '!')")

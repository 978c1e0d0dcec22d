"""The command `atoll` in a process of its own, as a user meets it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import Any

import pytest

TIMEOUT = 120
COMMAND = [sys.executable, "-m", "atoll"]


def atoll(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `atoll ARGUMENTS` to its end; *options* are those of `subprocess.run`, and `variables` of the environment."""
    variables = options.pop("variables", {})
    environment = {name: text for name, text in {**os.environ, **variables}.items() if text is not None}
    settings = {"capture_output": True, "text": True, "timeout": TIMEOUT, "check": False, "env": environment, **options}
    return subprocess.run([*COMMAND, *map(str, arguments)], **settings)


def terminal() -> tuple[int, int]:
    """Both sides of a new terminal, ours first. Skips the test where there is none to be had."""
    try:
        return pty.openpty()
    except OSError as error:  # no /dev/pts in this root
        pytest.skip(f"no terminal here: {error}")

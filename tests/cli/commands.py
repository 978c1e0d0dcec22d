"""The command `atoll` in a process of its own, as a user meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

TIMEOUT = 120
COMMAND = [sys.executable, "-m", "atoll"]


def atoll(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `atoll ARGUMENTS` to its end; *options* are those of `subprocess.run`, and `variables` of the environment."""
    variables = options.pop("variables", {})
    environment = {name: text for name, text in {**os.environ, **variables}.items() if text is not None}
    settings = {"capture_output": True, "text": True, "timeout": TIMEOUT, "check": False, "env": environment, **options}
    return subprocess.run([*COMMAND, *map(str, arguments)], **settings)

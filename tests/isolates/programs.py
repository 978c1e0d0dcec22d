"""Programs that tests run to their end: a Python process each, which may use many isolates, or end badly."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 180.0
"""Seconds after which a program counts as hung. Generous: scikit-learn takes its time in four isolates on two cores."""


class Done(NamedTuple):
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str


def run_python(
    *arguments: str,
    python: str = sys.executable,
    env: Mapping[str, str | None] | None = None,
    patience: float = PATIENCE,
) -> Done:
    """Run a Python to its end, in a session of its own, with this process's path; None in *env* unsets a variable."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(ROOT), *filter(None, sys.path)])),
        "PYTHONFAULTHANDLER": "1",
        **(env or {}),
    }
    process = subprocess.Popen(
        [python, *arguments],
        cwd=ROOT,
        env={name: value for name, value in environment.items() if value is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.send_signal(6)  # SIGABRT: faulthandler shows where it hangs
        try:
            out, err = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        pytest.fail(f"the program hung ({patience:g} s):\n{out}\n{err}")
    return Done(process.returncode, out, err)


def check(done: Done) -> str:
    """The output of a program that must have ended well."""
    good = done.code == 0 and "Fatal Python error" not in done.err and "panicked" not in done.err
    assert good, f"exit code {done.code}\n{done.out}\n{done.err}"
    return done.out


MODULES = {"scikit-learn": "sklearn", "Pillow": "PIL", "SQLAlchemy": "sqlalchemy"}
"""The import names that differ from those of the distributions."""


def needs(*distributions: str) -> None:
    """Skip if one of these is not installed (the extra `packages` has all that have wheels for this Python)."""
    missing = [name for name in distributions if find_spec(MODULES.get(name, name)) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install 'atoll[packages]')")

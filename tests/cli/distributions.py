"""Installed distributions for the doctor to find: made in a folder that is put on PYTHONPATH.

Their compiled modules are real ones: copies of extension modules of the standard library.
"""

from __future__ import annotations

import importlib.util
import shutil
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest


def _file_of(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    path = spec.origin if spec is not None else None
    return Path(path) if path and path.endswith(tuple(EXTENSION_SUFFIXES)) else None


LOADABLE = next(name for name in ("_bisect", "_queue", "_lzma", "_bz2", "_ssl", "_ctypes") if _file_of(name))
"""An extension module that loads everywhere. Which of them are files of their own differs between builds of Python."""

LOADS = f"from . import {LOADABLE}"
REFUSES = "_testsinglephase"
"""An extension module that no sub-interpreter takes."""


def install(site: Path, name: str, init: str, *, compiled: str = LOADABLE, record: bool = True) -> None:
    """Install a distribution *name* into *site*: a package with this `__init__.py` and a copy of *compiled* in it.

    Skips the test if this Python has no such file.
    """
    source = _file_of(compiled)
    if source is None:
        pytest.skip(f"this Python has no {compiled} of its own file")
    package = site / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(init)
    shutil.copy(source, package / source.name)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "top_level.txt").write_text(f"{name}\n")
    if record:
        files = [f"{name}/__init__.py", f"{name}/{source.name}", f"{info.name}/METADATA"]
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))

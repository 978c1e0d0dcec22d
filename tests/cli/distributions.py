"""Installed distributions for the doctor to find: made in a folder that is put on PYTHONPATH.

Their compiled modules are real ones: copies of extension modules of the standard library.
"""

from __future__ import annotations

import importlib.util
import shutil
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest


def extension(name: str) -> Path:
    """The file of an extension module of the standard library; skips the test where there is none of that name."""
    spec = importlib.util.find_spec(name)
    if spec is None or not (spec.origin or "").endswith(tuple(EXTENSION_SUFFIXES)):
        pytest.skip(f"this Python has no {name} of its own file")
    return Path(str(spec.origin))


def install(site: Path, name: str, init: str, *, compiled: str = "_bisect", record: bool = True) -> None:
    """Install a distribution *name* into *site*: a package with this `__init__.py` and a copy of *compiled* in it."""
    source = extension(compiled)
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

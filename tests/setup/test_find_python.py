"""`scripts/find-python` finds a CPython that starts, in the promised order, or says one clear sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIND_PYTHON = Path(__file__).parents[2] / "scripts" / "find-python"
REAL = getattr(sys, "_base_executable", sys.executable)
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for PATH in which we place what is to be found."""
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def find(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the script with *folder* and the bare system on PATH, and no pyenv but the one in *settings*."""
    environment = {
        "PATH": f"{folder}:{os.defpath}",
        "HOME": str(folder),
        "PYENV_ROOT": str(folder / "none"),
        **settings,
    }
    return subprocess.run(
        ["bash", FIND_PYTHON], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def place(path: Path, script: str) -> None:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def same_python(found: subprocess.CompletedProcess[str]) -> bool:
    return Path(found.stdout.strip()).resolve() == Path(REAL).resolve()


def test_a_python_on_path_is_found(folder: Path) -> None:
    place(folder / f"python{VERSION}", f'exec {REAL} "$@"')

    found = find(folder)

    assert found.returncode == 0, found.stderr


def test_a_shim_that_fails_is_passed_over_for_pyenvs_version_folder(folder: Path) -> None:
    for version in ("3.15", "3.14", "3.13"):
        place(folder / f"python{version}", "echo 'pyenv: command not found' >&2; exit 127")
    pyenv = folder / "pyenv"
    place(pyenv / "versions" / f"{VERSION}.1" / "bin" / f"python{VERSION}", f'exec {REAL} "$@"')

    found = find(folder, PATH=f"{folder}:{tools(folder)}", PYENV_ROOT=str(pyenv))

    assert found.returncode == 0, found.stderr
    assert same_python(found)


def test_the_named_python_is_taken_or_refused_but_never_replaced(folder: Path) -> None:
    place(folder / "old", "exit 1")

    assert same_python(find(folder, PYTHON=REAL))
    refused = find(folder, PYTHON=str(folder / "old"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"cannot use PYTHON={folder / 'old'}" in refused.stderr


def test_no_python_at_all_is_one_sentence_on_how_to_get_one(folder: Path) -> None:
    found = find(folder, PATH=tools(folder))

    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("cannot find a CPython 3.13 or newer")
    assert "uv python install" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_uv_is_asked_last(folder: Path) -> None:
    place(folder / "uv", f"echo {REAL}")

    found = find(folder, PATH=f"{folder}:{tools(folder)}")

    assert same_python(found)


def tools(folder: Path) -> str:
    """A PATH with what a shell script needs and no Python: bash alone (the script uses builtins only)."""
    bare = folder / "bare"
    bare.mkdir(exist_ok=True)
    (bare / "bash").symlink_to("/bin/bash")
    return str(bare)

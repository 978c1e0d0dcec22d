"""`if __name__ == "__main__"` is never needed, however a program is started."""

from __future__ import annotations

import subprocess
import sys
import zipapp
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import atoll

print("top")


class Shape:
    def __init__(self, sides):
        self.sides = sides

    def name(self):
        return NAMES[self.sides]


class Bad(Exception):
    pass


def name(sides):
    if sides not in NAMES:
        raise Bad(sides)
    return Shape(sides).name()


NAMES = {3: "triangle", 4: "square"}
print(list(atoll.map(name, [3, 4], kind=KIND)))
task = atoll.spawn(lambda: name(3).upper(), kind=KIND)
print(task.result())
try:
    atoll.run(name, 5, kind=KIND)
except Bad as error:
    print("bad", error.args)


def name(sides):
    return sides


print(atoll.run(name, 5, kind=KIND))
"""
SHOWN = "top\n['triangle', 'square']\nTRIANGLE\nbad (5,)\n5\n"


def from_a_file(program: str, folder: Path) -> tuple[list[str], str]:
    (folder / "program.py").write_text(program)
    return [str(folder / "program.py")], ""


def from_standard_input(program: str, folder: Path) -> tuple[list[str], str]:
    return ["-"], program


def from_the_command_line(program: str, folder: Path) -> tuple[list[str], str]:
    return ["-c", program], ""


def as_a_module(program: str, folder: Path) -> tuple[list[str], str]:
    (folder / "program.py").write_text(program)
    return ["-m", "program"], ""


def as_a_package(program: str, folder: Path) -> tuple[list[str], str]:
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "__main__.py").write_text(program)
    return ["-m", "package"], ""


def as_a_folder(program: str, folder: Path) -> tuple[list[str], str]:
    (folder / "application").mkdir()
    (folder / "application" / "__main__.py").write_text(program)
    return [str(folder / "application")], ""


def as_a_zipapp(program: str, folder: Path) -> tuple[list[str], str]:
    as_a_folder(program, folder)
    zipapp.create_archive(folder / "application", folder / "application.pyz")
    return [str(folder / "application.pyz")], ""


@pytest.mark.parametrize(
    "started",
    [from_a_file, from_standard_input, from_the_command_line, as_a_module, as_a_package, as_a_folder, as_a_zipapp],
)
def test_a_program_without_a_guard_runs_once_and_its_functions_work(
    started: Callable[[str, Path], tuple[list[str], str]], kind: str, tmp_path: Path
) -> None:
    arguments, text = started(f"KIND = {kind!r}\n{PROGRAM}", tmp_path)

    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, input=text, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, SHOWN, "")

"""The examples are under 60 lines, and print what their docstrings say."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_prints_what_its_docstring_says(example: Path) -> None:
    docstring = ast.get_docstring(ast.parse(example.read_text())) or ""
    promised = textwrap.dedent(docstring.partition("Prints:\n")[2]).strip()
    assert promised, "an example says in its docstring what it prints"

    done = subprocess.run([sys.executable, example], capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout.strip(), done.stderr, done.returncode) == (promised, "", 0)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_under_sixty_lines(example: Path) -> None:
    assert len(example.read_text().splitlines()) < 60

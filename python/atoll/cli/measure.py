"""How complex is one module of Python: what the demo's tasks compute, in whichever interpreter they run."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.match_case,
    ast.comprehension,
)


class Module(NamedTuple):
    """The measures of one file. Travels as a plain tuple: `results.send(tuple(module))`."""

    path: str
    lines: int = 0
    functions: int = 0
    classes: int = 0
    branches: int = 0
    largest: str = ""
    largest_lines: int = 0
    problem: str = ""

    @property
    def complexity(self) -> int:
        """The sum of the cyclomatic complexities of all its functions: one each, and one for every branch."""
        return self.functions + self.branches


def measure(path: str) -> Module:
    """Parse the file at *path* and count what is in it. A file that does not parse has a `problem`, nothing else.

    >>> measure("/no/such/file.py").problem
    'FileNotFoundError: No such file or directory'
    """
    try:
        source = Path(path).read_bytes()
        tree = ast.parse(source, path)
    except OSError as error:
        return Module(path, problem=f"{type(error).__name__}: {error.strerror}")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        return Module(path, problem=f"{type(error).__name__}: {reason}")

    functions = classes = branches = largest_lines = 0
    largest = ""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            functions += 1
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > largest_lines:
                largest, largest_lines = node.name, lines
        elif isinstance(node, ast.ClassDef):
            classes += 1
        elif isinstance(node, BRANCHES):
            branches += 1
        elif isinstance(node, ast.BoolOp):
            branches += len(node.values) - 1
    return Module(path, source.count(b"\n"), functions, classes, branches, largest, largest_lines)

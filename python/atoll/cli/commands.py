"""The list of commands, and the parser of those that read their arguments with argparse: all but `run`.

Such a command is a module with `add_arguments(parser)` and `run(arguments) -> int`; the first line of its docstring is
its summary.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from typing import NoReturn

from atoll.cli import demo, doctor, run

COMMANDS = {"demo": demo, "doctor": doctor}


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} --help'\n")


def main(words: list[str]) -> int:
    """Run the command that *words* name and return its exit code."""
    parser = _Parser(prog="atoll", description="Many Pythons, one process.")
    parser.add_argument("--version", action="version", version=f"atoll {version('atoll')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("run", help=_summary(run))
    for name, module in COMMANDS.items():
        summary = _summary(module)
        module.add_arguments(commands.add_parser(name, help=summary, description=summary))

    arguments = parser.parse_args(words)
    code: int = COMMANDS[arguments.command].run(arguments)
    return code


def _summary(module: object) -> str:
    return (module.__doc__ or "").splitlines()[0]

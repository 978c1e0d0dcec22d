"""The command line: `atoll COMMAND`, or `python -m atoll COMMAND`.

Each command is a module of this package with `add_arguments(parser)` and `run(arguments) -> int`. A command that a
user gets wrong says so in one line and exits with 2; Ctrl-C exits with 130, as a shell expects.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from atoll.cli import demo
from atoll.cli.usage import UsageError

COMMANDS = {"demo": demo}


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} --help'\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. *argv* defaults to the process's own."""
    parser = _Parser(prog="atoll", description="Many Pythons, one process.")
    parser.add_argument("--version", action="version", version=f"atoll {version('atoll')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        module.add_arguments(commands.add_parser(name, help=summary, description=summary))

    arguments = parser.parse_args(argv)
    try:
        code: int = COMMANDS[arguments.command].run(arguments)
        return code
    except UsageError as error:
        print(f"atoll {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has left (`atoll demo | head`): nothing more to say, to nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1

"""The command line: `atoll COMMAND`, or `python -m atoll COMMAND`.

Each command is a module of this package, listed in `commands`. A command that a user gets wrong says so in one line
and exits with 2; Ctrl-C exits with 130, as a shell expects.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from atoll.cli.usage import UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. *argv* defaults to the process's own."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = words[0] if words else ""
    try:
        if command == "run":
            from atoll.cli import run

            return run.main(words[1:])
        from atoll.cli import commands

        code = commands.main(words)
        if sys.stdout is not None:
            sys.stdout.flush()  # here it can be said that nobody reads it; at the end of Python it cannot
        return code
    except UsageError as error:
        print(f"atoll {command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has left (`atoll demo | head`): nothing more to say, to nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1

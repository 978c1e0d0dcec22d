"""run a script, a module or code as python does, with room for more isolates

The C library decides at the start of a process how many linker namespaces fit, and takes the wish from a variable of
the environment: `GLIBC_TUNABLES=glibc.rtld.nns=16`. So this sets the variable and becomes `python script.py` (exec):
exit code, signals, terminal, `sys.argv`, `__main__` and tracebacks are Python's own. What follows `run` is read by
hand, since it is Python's command line, not ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from atoll.cli.usage import UsageError

HELP = """\
usage: atoll run [--verbose] [python options] script.py [arguments ...]
       atoll run [--verbose] [python options] -m module [arguments ...]
       atoll run [--verbose] [python options] -c code [arguments ...]

Runs the script as `python script.py` does, with room for 15 isolates in the process instead of 5
(GLIBC_TUNABLES=glibc.rtld.nns=16). Without glibc there are no isolates, and it is run all the same.

options:
  -h, --help      show this help message and exit
  --verbose       say on stderr what is started
  python options  those of `python --help`: -X, -W, -O, -u ...
"""
WAYS = "'atoll run script.py', 'atoll run -m module' or 'atoll run -c code'"

OWN = ("--verbose", "--help", "-h")
FLAGS = "bBdEiIOPqRsSuvx"
TAKE_TEXT = "WX"
END_OPTIONS = "cm"
LONG_WITH_TEXT = "--check-hash-based-pycs"

TUNABLES = "GLIBC_TUNABLES"
NAMESPACES = "glibc.rtld.nns"
WANTED = 16  # the most that glibc takes; it ignores anything above


class CommandLine(NamedTuple):
    """What Python would make of its arguments."""

    options: list[str]
    """Its own options, one item each: `-uXdev` is `-u`, `-Xdev`."""
    program: list[str]
    """What to run, and its arguments: `["script.py", "a"]`, `["-m", "module", "a"]`; empty if nothing is named."""
    own: list[str]
    """Options of `atoll run` itself."""


def read(arguments: Sequence[str]) -> CommandLine:
    """Split *arguments* as Python's own getopt does. Raises UsageError for what it does not know.

    >>> read(["-uX", "dev", "script.py", "-m", "x"])
    CommandLine(options=['-u', '-Xdev'], program=['script.py', '-m', 'x'], own=[])
    >>> read(["--verbose", "-Omjson.tool", "-h"])
    CommandLine(options=['-O'], program=['-m', 'json.tool', '-h'], own=['--verbose'])
    """
    options: list[str] = []
    own: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            break
        if argument == "-" or not argument.startswith("-"):
            return CommandLine(options, [argument, *rest], own)
        if argument in OWN:
            own.append(argument)
            continue
        if argument == LONG_WITH_TEXT:
            options += [argument, _text_of(argument, rest)]
            continue
        if argument.startswith("--"):
            raise UsageError(f"cannot pass {argument} to Python (no such option); see 'atoll run --help'")
        for place, letter in enumerate(argument[1:], start=1):
            if letter in FLAGS:
                options.append(f"-{letter}")
                continue
            if letter not in TAKE_TEXT + END_OPTIONS:
                raise UsageError(f"cannot pass -{letter} to Python (no such option); see 'atoll run --help'")
            text = argument[place + 1 :] or _text_of(f"-{letter}", rest)
            if letter in END_OPTIONS:
                return CommandLine(options, [f"-{letter}", text, *rest], own)
            options.append(f"-{letter}{text}")
            break
    if rest and rest[0].startswith("-") and rest[0] != "-":
        rest.insert(0, "--")  # it still has to keep a script whose name starts with a dash from being an option
    return CommandLine(options, rest, own)


def _text_of(option: str, rest: list[str]) -> str:
    if not rest:
        what = {"-m": "the module", "-c": "the code"}.get(option, "its value")
        raise UsageError(f"cannot run with {option} alone ({what} is missing); write {WAYS}")
    return rest.pop(0)


def with_room(tunables: str) -> str:
    """The value of GLIBC_TUNABLES with room for 16 namespaces: *tunables*, and only that one changed.

    >>> with_room("glibc.malloc.check=3:glibc.rtld.nns=4")
    'glibc.malloc.check=3:glibc.rtld.nns=16'
    """
    items = [item for item in tunables.split(":") if item]
    found = [item for item in items if item.startswith(f"{NAMESPACES}=")]
    if len(found) == 1 and _number(found[0].partition("=")[2]) == WANTED:
        return tunables
    # Releases of glibc differ on which of two settings counts: leave one.
    return ":".join([*(item for item in items if item not in found), f"{NAMESPACES}={WANTED}"])


def _number(text: str) -> int:
    """What glibc reads in *text*: decimal, or hexadecimal after 0x."""
    with suppress(ValueError):
        return int(text, 16 if text.lower().startswith("0x") else 10)
    return 0


def has_glibc() -> bool:
    """Whether the C library of this process is glibc."""
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, ValueError, OSError):
        return False


def environment(current: Mapping[str, str]) -> dict[str, str]:
    """The environment to start Python in: the *current* one, and the tunable where there is a loader that reads it."""
    result = dict(current)
    if "LC_CTYPE" in result and _coerced_locale():
        del result["LC_CTYPE"]
    if has_glibc():
        result[TUNABLES] = with_room(result.get(TUNABLES, ""))
    return result


def _coerced_locale() -> bool:
    """Whether Python itself set LC_CTYPE (PEP 538), from which a second Python would conclude that the user had."""
    try:
        with open("/proc/self/environ", "rb") as given:
            return not any(item.startswith(b"LC_CTYPE=") for item in given.read().split(b"\0"))
    except OSError:
        return False


def inherited_options(original: Sequence[str]) -> list[str]:
    """The options that the running Python was given, from its `sys.orig_argv`; all but -x, which is about one file.

    >>> inherited_options(["python", "-Xdev", "-m", "atoll", "run", "-u"])
    ['-Xdev']
    """
    try:
        return [option for option in read(original[1:]).options if option != "-x"]
    except UsageError:  # an embedded Python may have a command line of its own kind
        return []


def main(arguments: list[str]) -> int:
    """Become Python on what *arguments* name; returns only for --help. Raises UsageError if they name nothing."""
    options, program, own = read(arguments)
    if "--help" in own or "-h" in own:
        print(HELP, end="")
        return 0
    if not program:
        raise UsageError(f"cannot start Python (no script is named); write {WAYS}")
    if not sys.executable:
        raise UsageError("cannot run a script (this Python does not know its own path: sys.executable is empty)")

    command = [sys.executable, *inherited_options(sys.orig_argv), *options, *program]
    variables = environment(os.environ)
    if "--verbose" in own:
        import shlex

        tunables = f"{TUNABLES}={variables[TUNABLES]} " if has_glibc() else ""
        print(f"atoll run: {tunables}{shlex.join(command)}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(sys.executable, command, variables)
    except OSError as error:
        raise UsageError(f"cannot start {sys.executable} ({error.strerror}); is this Python still installed?") from None

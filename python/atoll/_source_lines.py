"""The lines of a remote traceback that only this interpreter knows: of functions typed at a prompt or in a cell.

A function that travels by value keeps its file's name and line numbers, but the text of a cell or of a prompt's input
is nowhere to be read from in the interpreter that formats the traceback. It is here, where the function comes from.
"""

from __future__ import annotations

import linecache
import re

_FRAME = re.compile(r'^(?P<indent> *(?:\| *)*)File "(?P<file>[^"]+)", line (?P<line>\d+), in ')
_AMBIGUOUS = frozenset({"<string>", "<stdin>", "<unknown>"})
"""Names that the code of anybody may bear: a line found here under such a name may be of something else."""


def filled(text: str) -> str:
    """*text* with the source line after every frame that lacks it, where it can be had. Never raises.

    filled('  File "<python-input-3>", line 1, in fail\\n')
    """
    lines = text.splitlines(keepends=True)
    shown = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        shown.append(line)
        frame = _FRAME.match(line)
        if frame is None or after.startswith(frame["indent"] + "  "):
            continue
        source = _line(frame["file"], int(frame["line"]))
        if source:
            shown.append(f"{frame['indent']}  {source}\n")
    return "".join(shown)


def _line(file: str, number: int) -> str:
    if file in _AMBIGUOUS:
        return ""
    source = linecache.getline(file, number).strip()
    if source:
        return source
    # Since 3.13 what is typed at Python's own prompt is kept by code object, not by name.
    for entry in list(getattr(linecache, "_interactive_cache", {}).values()):
        if entry[3] == file and 0 < number <= len(entry[2]):
            return str(entry[2][number - 1]).strip()
    return ""

"""Standard output of the main interpreter, once workers write there, too: no line is to end up inside another's.

Workers write line by line, through the engine (`_rules.write_whole_lines`). Python's own stream to a pipe or a file
writes whenever its buffer is full, in the middle of a line mostly.
"""

from __future__ import annotations

import io
import sys

from . import _native
from ._exit import MAIN_HOST


def share() -> None:
    """Have the main interpreter's `print` write line by line. What the program has put in stdout's place stays."""
    stream = sys.stdout
    if _native.current_host() != MAIN_HOST or stream is not sys.__stdout__:
        return
    if isinstance(stream, io.TextIOWrapper) and not stream.line_buffering and not stream.write_through:
        stream.reconfigure(line_buffering=True)

"""Aligned tables and a little colour for a terminal."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

COLOURS = {"green": 32, "yellow": 33, "red": 31, "dim": 2, "bold": 1}
_ESCAPE = re.compile(r"\x1b\[\d+m")
_NARROWEST = 24  # the least a last column is wrapped or cut to


def number(value: float) -> str:
    """Write *value* for a reader: thousands apart, no decimals that nobody needs.

    >>> number(12345), number(3.14159)
    ('12,345', '3.1')
    """
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}"


def clip(text: str, width: int) -> str:
    """Cut *text* to *width* characters, with an ellipsis for what is gone.

    >>> clip("paneconfigure", 8)
    'panecon…'
    """
    return text if len(text) <= width else text[: width - 1] + "…"


def colourful() -> bool:
    """Whether stdout is to be coloured: a terminal, unless NO_COLOR or TERM=dumb says no; FORCE_COLOR says yes."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """Give *text* a colour of COLOURS, where stdout is to be coloured."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if text and colourful() else text


def columns() -> int:
    """How wide the terminal is: COLUMNS if that is set; a file or a pipe gets 120."""
    return shutil.get_terminal_size((120, 24)).columns


def _width(text: str) -> int:
    return len(_ESCAPE.sub("", text))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay *rows* out under *heads*; numbers stand to the right, all else to the left.

    >>> print(table(["name", "lines"], [["a.py", 1200], ["longer.py", 7]]))
    name       lines
    a.py       1,200
    longer.py      7
    """
    rows = [list(row) for row in rows]
    right = [bool(rows) and all(isinstance(row[column], int | float) for row in rows) for column in range(len(heads))]
    text = [list(heads)] if any(heads) else []
    text += [[number(cell) if isinstance(cell, int | float) else str(cell) for cell in row] for row in rows]
    widths = [max(_width(line[column]) for line in text) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            " " * (width - _width(cell)) + cell if to_right else cell + " " * (width - _width(cell))
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in text
    )


def fitted(heads: Sequence[str], rows: Iterable[Sequence[str]], width: int, *, wrap: bool) -> str:
    """As `table`, at most *width* wide: the last column, which has no colour, is wrapped, or else cut.

    >>> print(fitted(["kind", "why"], [["isolate", "a copy of libpython with its own GIL"]], 38, wrap=True))
    kind     why
    isolate  a copy of libpython with its
             own GIL
    """
    rows = [list(row) for row in rows]
    before = sum(max([len(head), *(_width(row[at]) for row in rows)]) + 2 for at, head in enumerate(heads[:-1]))
    room = max(_NARROWEST, width - before)
    lines: list[Sequence[str]] = []
    for *others, last in rows:
        parts = (textwrap.wrap(last, room, break_on_hyphens=False) if wrap else [clip(last, room)]) or [""]
        lines.append([*others, parts[0]])
        lines += [[*("" for _ in others), part] for part in parts[1:]]
    return table(heads, lines)

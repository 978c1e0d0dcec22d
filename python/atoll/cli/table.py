"""Aligned tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay *rows* out under *heads*; numbers stand to the right, all else to the left.

    >>> print(table(["name", "lines"], [["a.py", 1200], ["longer.py", 7]]))
    name       lines
    a.py       1,200
    longer.py      7
    """
    rows = [list(row) for row in rows]
    right = [bool(rows) and all(isinstance(row[column], int | float) for row in rows) for column in range(len(heads))]
    text = [list(heads)] + [
        [number(cell) if isinstance(cell, int | float) else str(cell) for cell in row] for row in rows
    ]
    widths = [max(len(line[column]) for line in text) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in text
    )

"""Progress on stderr: a tqdm bar on a terminal, a few plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

LINES = 4  # as many plain lines for a whole run


def progress[T](items: Iterable[T], total: int, what: str, *, unit: str = "files", lines: int = LINES) -> Iterator[T]:
    """Yield *items*, of which there will be *total*, and show on stderr how far it is."""
    if sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ImportError:
            lines = LINES  # the extra `progress` is not installed: plain lines serve
        else:
            yield from tqdm(items, total=total, desc=what, unit=f" {unit}", dynamic_ncols=True, leave=lines > 0)
            return

    for count, item in enumerate(items, start=1):
        yield item
        if count * lines // total > (count - 1) * lines // total:
            print(f"{what}: {count:,} of {total:,} {unit}", file=sys.stderr)

"""Progress on stderr: a tqdm bar on a terminal, a few plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

LINES = 4  # as many plain lines for a whole run


def progress[T](items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield *items*, of which there will be *total*, and show on stderr how far it is."""
    if sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ImportError:
            pass  # the extra `progress` is not installed: plain lines serve
        else:
            yield from tqdm(items, total=total, desc=what, unit=" files", dynamic_ncols=True)
            return

    for count, item in enumerate(items, start=1):
        yield item
        if count * LINES // total > (count - 1) * LINES // total:
            print(f"{what}: {count:,} of {total:,} files", file=sys.stderr)

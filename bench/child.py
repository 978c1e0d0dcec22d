"""One contender of one scenario, measured once in this process: `python -m bench.child NAME CONTENDER SECONDS`."""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Measure, print the figure as JSON, and end without waiting for anybody's threads."""
    from bench.scenarios import SCENARIOS

    name, contender, seconds = sys.argv[1:]
    figure = SCENARIOS[name].contenders[contender](float(seconds))
    print(json.dumps(figure), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

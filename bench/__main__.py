"""`make bench`, or `python -m bench [--quick] [SCENARIO ...]`."""

from __future__ import annotations

import argparse
import json

from bench.machine import describe
from bench.report import LATEST, terminal
from bench.run import FULL, QUICK, document, run
from bench.scenarios import SCENARIOS


def main() -> None:
    """Measure, print the tables, write `bench/results/latest.json`."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="end within a minute; rougher figures")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    arguments = parser.parse_args()
    unknown = set(arguments.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")

    plan = QUICK if arguments.quick else FULL
    names = arguments.scenarios or [
        name for name, scenario in SCENARIOS.items() if not (arguments.quick and scenario.patience)
    ]
    result = {"machine": describe(), **document(plan, run(plan, names))}
    print(terminal(result))
    if not arguments.scenarios:
        LATEST.parent.mkdir(exist_ok=True)
        LATEST.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        print(f"\nwritten to {LATEST.relative_to(LATEST.parents[2])}")


if __name__ == "__main__":
    main()

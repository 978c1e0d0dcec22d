"""The same work in main and in isolates at the same time: `python -m tests.isolates.side_by_side NAME …`.

Prints one JSON object a name: `{"name": …, "hosts": n, "wrong": […]}`; exits with 1 if anything was wrong. A program
of its own, so that a crash fails one test, and so that each package meets a process that nobody has prepared.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.isolates.workloads import WORKLOADS, same

import atoll

ROUNDS = 2


def compare(name: str, hosts: Sequence[atoll.Interpreter], pool: ThreadPoolExecutor) -> list[str]:
    """Run one workload in every host and here at once; what went wrong, in words."""
    work = WORKLOADS[name]
    seeds = range(len(hosts))
    expected = [work(seed) for seed in seeds]
    wrong: list[str] = []
    for turn in range(ROUNDS):
        calls = {seed: pool.submit(host.call, work, seed) for seed, host in enumerate(hosts)}
        answers: dict[str, tuple[int, Any]] = {f"main, round {turn}": (0, work(0))}
        for seed, call in calls.items():
            try:
                answers[f"host {seed}, round {turn}"] = (seed, call.result())
            except BaseException as error:
                wrong.append(f"host {seed}, round {turn}: " + "".join(traceback.format_exception(error)))
        wrong += [
            f"{where}: {answer!r:.400} instead of {expected[seed]!r:.400}"
            for where, (seed, answer) in answers.items()
            if not same(answer, expected[seed])
        ]
    return wrong


def main() -> None:
    """Compare every workload named on the command line, all in the same hosts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--kind", default="isolate")
    parser.add_argument("names", nargs="+", choices=list(WORKLOADS))
    arguments = parser.parse_args()
    failed = False
    hosts = [atoll.Interpreter(kind=arguments.kind) for _ in range(arguments.hosts)]
    with ThreadPoolExecutor(len(hosts)) as pool:
        for name in arguments.names:
            wrong = compare(name, hosts, pool)
            failed = failed or bool(wrong)
            print(json.dumps({"name": name, "hosts": len(hosts), "wrong": wrong}), flush=True)
    for host in hosts:
        host.close()
    sys.exit(failed)


if __name__ == "__main__":
    main()

"""Runs the scenarios: contenders in turns, each in a process of its own, medians over the rounds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile

from bench.scenarios import SCENARIOS
from bench.scenarios.scenario import Scenario

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Plan:
    """How thorough a run is."""

    name: str
    rounds: int
    seconds: float
    cut_off: float  # a contender that takes longer than this has hung
    budget: float  # no new round begins after this


FULL = Plan("full", rounds=5, seconds=1.0, cut_off=60, budget=1200)
QUICK = Plan("quick", rounds=3, seconds=0.12, cut_off=15, budget=30)


@dataclass
class Result:
    """What one contender reached in one scenario."""

    values: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def figure(self) -> float | None:
        """The median over the rounds; None if the contender failed or hung."""
        return median(self.values) if self.values and not self.error else None


def measure(scenario: Scenario, contender: str, plan: Plan) -> float | str:
    """One figure, or what went wrong."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.child"]
    # Files, not pipes: workers that outlive the child would hold a pipe open.
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        child = subprocess.Popen(
            [*command, scenario.name, contender, str(plan.seconds)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "GLIBC_TUNABLES": "glibc.rtld.nns=16"},
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            code = child.wait(plan.cut_off + scenario.patience)
        except subprocess.TimeoutExpired:
            return f"hung: cut off after {plan.cut_off + scenario.patience:g} s"
        finally:
            _end_group(child)
        out.seek(0)
        err.seek(0)
        if code == 0:
            return float(json.load(out))
        return f"failed: {(err.read().strip().splitlines() or [f'exit code {code}'])[-1]}"


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End what the child left behind: it leads a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def run(plan: Plan, names: list[str]) -> dict[str, dict[str, Result]]:
    """Measure the scenarios called *names*; by scenario, then by contender."""
    results: dict[str, dict[str, Result]] = {
        name: {contender: Result() for contender in SCENARIOS[name].contenders} for name in names
    }
    began = time.monotonic()
    for turn in range(plan.rounds):
        for name, contenders in results.items():
            if turn and time.monotonic() - began > plan.budget:
                return results
            for contender, result in contenders.items():
                if result.error:
                    continue
                _show(f"round {turn + 1} of {plan.rounds}: {SCENARIOS[name].title}, {contender}")
                value = measure(SCENARIOS[name], contender, plan)
                if isinstance(value, str):
                    result.error = value
                else:
                    result.values.append(value)
    _show("")
    return results


def _show(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def document(plan: Plan, results: dict[str, dict[str, Result]]) -> dict[str, object]:
    """The results in the form in which they are written."""
    return {
        "plan": asdict(plan),
        "scenarios": {
            name: {
                "title": SCENARIOS[name].title,
                "unit": SCENARIOS[name].unit,
                "higher_is_better": SCENARIOS[name].higher_is_better,
                "contenders": {
                    contender: {"figure": result.figure, **asdict(result)} for contender, result in contenders.items()
                },
            }
            for name, contenders in results.items()
        },
    }

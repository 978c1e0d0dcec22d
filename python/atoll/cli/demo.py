"""measure every module of the standard library on all cores, or (--numbers) cluster real images in isolates

The main job in small: the names of the files go through one channel to tasks in interpreters of their own, each of
which parses and measures; what they find comes back on another. `numbers` does the same with numpy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import atoll
from atoll.cli import numbers
from atoll.cli.measure import Module, measure
from atoll.cli.progress import progress
from atoll.cli.table import clip, table
from atoll.cli.usage import UsageError

SHOWN_MODULES = 10
SHOWN_PROBLEMS = 5
MAX_WORKERS = 256
COUNTERS = ("capacity", "sent", "received", "high_water")

type Message = tuple[Any, ...]  # the fields of a Module
type Watch = Callable[[Iterable[Message], int, str], Iterable[Message]]


class Survey(NamedTuple):
    """What one pass over all files found, and how long it took."""

    workers: int
    modules: list[Module]
    seconds: float
    channels: dict[str, dict[str, int]]


def survey(files: list[str], workers: int, watch: Watch = progress) -> Survey:
    """Measure *files* with *workers* tasks in parallel interpreters; *watch* shows how far it is."""
    names = atoll.Channel[str](capacity=64)
    results = atoll.Channel[Message](capacity=64)
    found, report = results.receiver, results.sender
    del results  # only ends are left: when the last sender goes, the iteration over `found` ends
    began = time.perf_counter()

    with atoll.TaskGroup() as group:
        group.spawn(send_all, files, names, name="names")
        for index in range(workers):
            group.spawn(measure_all, names.receiver, report, name=f"measure-{index + 1}")
        report.close()
        arriving = watch(found, len(files), called(workers))
        modules = [Module(*message) for message in arriving]

    seconds = time.perf_counter() - began
    channels = {"names": counters(names), "results": counters(found)}
    return Survey(workers, modules, seconds, channels)


def called(workers: int) -> str:
    """The name of a pass."""
    return f"{workers} worker" + ("s" if workers > 1 else "")


def send_all(files: list[str], names: atoll.Channel[str]) -> None:
    """The first task: every name goes on the channel, and no more will come."""
    names.send_many(files)
    names.close()


def measure_all(names: atoll.Receiver[str], report: atoll.Sender[Message]) -> None:
    """Every other task: take names until there are none, and send what each file holds."""
    warnings.simplefilter("ignore")  # the sources' own SyntaxWarnings are no news of ours
    for name in names:
        report.send(tuple(measure(name)))


def counters(end: atoll.Channel[Any] | atoll.Receiver[Any]) -> dict[str, int]:
    """What the statistics of a channel say about how it flowed."""
    stats = end.stats()
    return {name: getattr(stats, name) for name in COUNTERS}


def python_files(folder: Path) -> list[str]:
    """Every `.py` file under *folder*, sorted; packages installed beside a library are not part of it."""
    return sorted(
        str(path)
        for path in folder.rglob("*.py")
        if "site-packages" not in path.relative_to(folder).parts and path.is_file()
    )


def warm_up(files: list[str], workers: int) -> None:
    """Let neither pass pay for what comes first: reading the files from the disk, starting the interpreters."""
    for path in files:
        with suppress(OSError):
            Path(path).read_bytes()
    survey(files[:workers], workers, watch=unseen)


def unseen(items: Iterable[Message], _total: int, _what: str) -> Iterable[Message]:
    """Shows no progress."""
    return items


def tables(folder: Path, alone: Survey, together: Survey) -> str:
    """The whole result for a terminal, from the pass of one worker and the pass of all."""
    modules = sorted(
        (module for module in together.modules if not module.problem),
        key=lambda module: (-module.complexity, module.path),
    )
    problems = sorted(module for module in together.modules if module.problem)

    def name(module: Module) -> str:
        return str(Path(module.path).relative_to(folder))

    totals = [
        sum(m.lines for m in modules),
        sum(m.functions for m in modules),
        sum(m.classes for m in modules),
        sum(m.branches for m in modules),
    ]
    parts = [
        f"The {min(SHOWN_MODULES, len(modules))} most complex modules (complexity = functions + branches)",
        table(
            ["module", "complexity", "lines", "functions", "classes", "largest function"],
            [
                (
                    name(m),
                    m.complexity,
                    m.lines,
                    m.functions,
                    m.classes,
                    f"{clip(m.largest, 24)} ({m.largest_lines} lines)",
                )
                for m in modules[:SHOWN_MODULES]
            ],
        ),
        "Totals",
        table(
            ["modules", "lines", "functions", "classes", "branches"],
            [[len(modules), *totals]],
        ),
    ]
    if problems:
        rows = [(name(module), clip(module.problem, 70)) for module in problems[:SHOWN_PROBLEMS]]
        if len(problems) > SHOWN_PROBLEMS:
            rows.append((f"and {len(problems) - SHOWN_PROBLEMS} more", "(--json FILE names them all)"))
        parts += [
            f"{len(problems)} of {len(together.modules):,} files do not parse, and count nowhere else",
            table(["file", "why"], rows),
        ]
    passes = [alone] if alone is together else [alone, together]
    parts += [
        "Speed",
        table(
            ["", "seconds", "files/s", "speed-up"],
            [
                (
                    called(p.workers),
                    round(p.seconds, 2),
                    len(p.modules) / p.seconds,
                    f"{alone.seconds / p.seconds:.2f} x",
                )
                for p in passes
            ],
        ),
        f"Channels, with {called(together.workers)}",
        table(
            ["", *(counter.replace("_", " ") for counter in COUNTERS)],
            [(channel, *counts.values()) for channel, counts in together.channels.items()],
        ),
    ]
    return "\n\n".join(f"{title}\n{body}" for title, body in zip(parts[::2], parts[1::2], strict=True))


def document(folder: Path, alone: Survey, together: Survey) -> dict[str, Any]:
    """The whole result for `--json`."""
    return {
        "atoll": version("atoll"),
        "python": platform.python_version(),
        "folder": str(folder),
        "speed_up": alone.seconds / together.seconds,
        "passes": [
            {
                "workers": p.workers,
                "seconds": p.seconds,
                "files_per_second": len(p.modules) / p.seconds,
                "channels": p.channels,
            }
            for p in (alone, together)
        ],
        "modules": [m._asdict() | {"complexity": m.complexity} for m in sorted(together.modules)],
    }


def worker_count(text: str) -> int:
    """Read what `--workers` was given."""
    try:
        workers = int(text)
    except ValueError:
        workers = 0
    if not 1 <= workers <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"cannot start {text!r} workers; give a whole number from 1 to {MAX_WORKERS}")
    return workers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    work = parser.add_mutually_exclusive_group()
    work.add_argument("--path", metavar="DIR", type=Path, help="measure the code under DIR instead")
    work.add_argument(
        "--numbers",
        action="store_true",
        help="a numeric job instead, in isolates: k-means and singular values of the digits of scikit-learn",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=worker_count,
        help="parallel interpreters (default: one a core, at least 2)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure to FILE as well")


def run(arguments: argparse.Namespace) -> int:
    """Do the job with one worker, then with all, and print what came out."""
    if arguments.json and not os.access(arguments.json.resolve().parent, os.W_OK):
        raise UsageError(f"cannot write {arguments.json} (its folder is not there or not writable)")
    result = numbers.run(arguments.workers) if arguments.numbers else run_survey(arguments.path, arguments.workers)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    return 0


def run_survey(path: Path | None, wanted: int | None) -> dict[str, Any]:
    """Measure the modules under *path* with one worker, then with *wanted*; returns the document."""
    folder = (path or Path(sysconfig.get_path("stdlib"))).resolve()
    if not folder.is_dir():
        raise UsageError(f"cannot read {folder} (it is not a folder); give --path a folder of Python files")
    files = python_files(folder)
    if not files:
        raise UsageError(f"cannot measure {folder} (it holds no .py file); give --path a folder of Python files")
    workers = wanted or max(2, os.process_cpu_count() or 1)

    print(f"{len(files):,} files of {folder}, on CPython {platform.python_version()}", flush=True)
    warm_up(files, workers)
    alone = survey(files, 1)
    together = survey(files, workers) if workers > 1 else alone
    print(f"\n{tables(folder, alone, together)}")
    return document(folder, alone, together)
